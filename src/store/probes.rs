//! Probes: stored questions with their answers, and the scores of each version on them.
//!
//! A score row is one cell of the forgetting matrix: probe (so document) × version, where version 0 is the base. Each
//! update writes a bounded number of rows (see `learn/inner/replay.rs`).

use super::error::Result;
use super::sql::text_enum;
use super::{Store, new_id, now};
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

text_enum! {
    pub enum ProbeOrigin {
        /// The client sent the question with the document.
        Given = "given",
        /// The model wrote the question from the document, and the question passed the round trip.
        Written = "written",
        /// A probe of an earlier text of the document, which the new text still answers.
        Kept = "kept",
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
    /// Why the probe is not asked any more: a newer text of its document contradicts it or is silent.
    pub retired: Option<String>,
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
    /// Log-probability of the gold answer, in nats.
    pub logprob: Option<f64>,
    /// The model's answer.
    pub answer: String,
}

/// A score with the document of its probe.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentScore {
    pub document_id: String,
    pub probe_id: String,
    pub version: u64,
    pub correct: bool,
    pub logprob: Option<f64>,
}

/// A version's score on general probes, with the base's score on the same probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GeneralScore {
    pub version: u64,
    pub probes: u64,
    pub base_correct: u64,
    pub correct: u64,
}

pub struct Probes<'a>(pub(super) &'a Store);

impl Probes<'_> {
    /// Replaces all probes of a document, so that a resumed job does not store them twice.
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
                retired: None,
                created_at: now(),
            })
            .collect();
        self.0.write("store the probes of a document", |tx| {
            tx.execute("DELETE FROM probes WHERE document_id = ?1", [document_id])?;
            let mut insert = tx.prepare_cached(
                "INSERT INTO probes (id, document_id, alias, question, answer, origin, created_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
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

    /// Stores scores. A second score of the same cell replaces the first. A score is dropped if its probe was deleted
    /// meanwhile with its document.
    pub fn record_scores(&self, scores: &[ProbeScore]) -> Result<()> {
        self.0.write("store probe scores", |tx| {
            let mut insert = tx.prepare_cached(
                "INSERT OR REPLACE INTO scores (probe_id, alias, version, correct, logprob, answer)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM probes WHERE id = ?1)",
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

    /// The scores of every version and of the base (version 0), for the forgetting matrix.
    pub fn scores(&self, alias: &str) -> Result<Vec<DocumentScore>> {
        self.0.read("read probe scores", |c| {
            c.prepare_cached(
                "SELECT document_id, probe_id, version, correct, logprob
                 FROM scores JOIN probes ON probes.id = probe_id
                 WHERE scores.alias = ?1
                 ORDER BY version, probe_id",
            )?
            .query_map([alias], |row| {
                Ok(DocumentScore {
                    document_id: row.get(0)?,
                    probe_id: row.get(1)?,
                    version: row.get::<_, i64>(2)? as u64,
                    correct: row.get(3)?,
                    logprob: row.get(4)?,
                })
            })?
            .collect()
        })
    }

    /// Stores a version's general score, or replaces it.
    pub fn record_general(&self, alias: &str, score: GeneralScore) -> Result<()> {
        self.0.write("store general scores", |tx| {
            tx.execute(
                "INSERT OR REPLACE INTO general_scores VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    alias,
                    score.version as i64,
                    score.probes as i64,
                    score.base_correct as i64,
                    score.correct as i64
                ],
            )?;
            Ok(())
        })
    }

    /// The general scores from version `first` on, sorted by version.
    pub fn general_since(&self, alias: &str, first: u64) -> Result<Vec<GeneralScore>> {
        self.0.read("read general scores", |c| {
            c.prepare_cached(
                "SELECT version, probes, base_correct, correct FROM general_scores
                 WHERE alias = ?1 AND version >= ?2 ORDER BY version",
            )?
            .query_map(params![alias, first as i64], |row| {
                let number = |i| row.get::<_, i64>(i).map(|n| n as u64);
                Ok(GeneralScore {
                    version: number(0)?,
                    probes: number(1)?,
                    base_correct: number(2)?,
                    correct: number(3)?,
                })
            })?
            .collect()
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
        retired: row.get("retired")?,
        created_at: row.get("created_at")?,
    })
}
