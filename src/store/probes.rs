//! Probes: stored questions with answers, and what each version of the alias answered to them.
//!
//! A score row is one cell of the forgetting matrix: probe (hence document) × version.

use super::error::Result;
use super::sql::text_enum;
use super::{Store, new_id, now};
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

text_enum! {
    pub enum ProbeOrigin {
        /// The client gave it with the document.
        Given = "given",
        /// The model wrote it from the document, and it passed the round trip.
        Written = "written",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    pub id: String,
    pub document_id: String,
    pub alias: String,
    pub question: String,
    pub answer: String,
    pub origin: ProbeOrigin,
    pub created_at: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct NewProbe {
    pub question: String,
    pub answer: String,
    pub origin: ProbeOrigin,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeScore {
    pub probe_id: String,
    pub alias: String,
    pub version: u64,
    pub correct: bool,
    /// Log-probability of the gold answer.
    pub logprob: Option<f64>,
    /// What the model said.
    pub answer: String,
}

pub struct Probes<'a>(pub(super) &'a Store);

impl Probes<'_> {
    /// Replaces the probes of a document, so that a resumed job does not double them.
    pub fn insert_many(
        &self,
        document_id: &str,
        alias: &str,
        probes: &[NewProbe],
    ) -> Result<Vec<Probe>> {
        let stored: Vec<Probe> = probes
            .iter()
            .map(|p| Probe {
                id: new_id("probe"),
                document_id: document_id.into(),
                alias: alias.into(),
                question: p.question.clone(),
                answer: p.answer.clone(),
                origin: p.origin,
                created_at: now(),
            })
            .collect();
        self.0.write("store the probes of a document", |tx| {
            tx.execute("DELETE FROM probes WHERE document_id = ?1", [document_id])?;
            let mut insert =
                tx.prepare_cached("INSERT INTO probes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for p in &stored {
                insert.execute(params![
                    p.id,
                    p.document_id,
                    p.alias,
                    p.question,
                    p.answer,
                    p.origin,
                    p.created_at
                ])?;
            }
            Ok(())
        })?;
        Ok(stored)
    }

    pub fn for_document(&self, document_id: &str) -> Result<Vec<Probe>> {
        self.0.read("read the probes of a document", |c| {
            c.prepare_cached("SELECT * FROM probes WHERE document_id = ?1 ORDER BY id")?
                .query_map([document_id], probe)?
                .collect()
        })
    }

    /// Keeps what a version scored; the same cell written again replaces the first.
    pub fn record_scores(&self, scores: &[ProbeScore]) -> Result<()> {
        self.0.write("store probe scores", |tx| {
            let mut insert = tx.prepare_cached(
                "INSERT OR REPLACE INTO scores (probe_id, alias, version, correct, logprob, answer)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for s in scores {
                insert.execute(params![
                    s.probe_id,
                    s.alias,
                    s.version as i64,
                    s.correct,
                    s.logprob,
                    s.answer
                ])?;
            }
            Ok(())
        })
    }
}

fn probe(row: &Row) -> rusqlite::Result<Probe> {
    Ok(Probe {
        id: row.get("id")?,
        document_id: row.get("document_id")?,
        alias: row.get("alias")?,
        question: row.get("question")?,
        answer: row.get("answer")?,
        origin: row.get("origin")?,
        created_at: row.get("created_at")?,
    })
}
