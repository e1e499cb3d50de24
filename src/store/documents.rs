//! Documents that clients asked an alias to learn, with the outcome of each.

use super::error::Result;
use super::identity::{document_digest, title_key};
use super::known::Identity;
use super::sql::{Figures, Json, RecordText, decimal, page_limit, text_enum};
use super::{Page, Posted, Store, events, new_id, now};
use crate::question::Question;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde_json::{Value, json};

text_enum! {
    pub enum DocumentState {
        Queued = "queued",
        Learning = "learning",
        /// Part of a published version.
        Learned = "learned",
        /// Learned once; a newer text of the same document took its place (`replaced_by`).
        Replaced = "replaced",
        /// Trained, but not published because of the gate; the report gives the reason.
        Refused = "refused",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// The gate's verdict on an update.
    pub enum GateVerdict {
        /// Accepted at the first attempt, or after longer training.
        Accepted = "accepted",
        /// Accepted after an attempt that forgot too much.
        Gentler = "gentler",
        Refused = "refused",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    pub id: String,
    pub alias: String,
    /// The client's own name of the document.
    pub external_id: Option<String>,
    /// Digest of title and text (see [`super::document_digest`]).
    pub digest: String,
    /// The document that this one replaces, or was to replace.
    pub replaces: Option<String>,
    /// The document that took this one's place in the live version.
    pub replaced_by: Option<String>,
    pub title: String,
    pub text: String,
    pub metadata: Value,
    /// Questions from the client. Questions that the model wrote are stored as probes.
    pub questions: Vec<Question>,
    pub state: DocumentState,
    pub job_id: String,
    /// The version of the alias that learned the document.
    pub version: Option<u64>,
    /// The report, which grows while the document is learned.
    pub report: Option<Value>,
    pub created_at: String,
    pub updated_at: String,
}

/// A document in a list, without text and report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DocumentSummary {
    pub id: String,
    pub alias: String,
    pub external_id: Option<String>,
    pub digest: String,
    pub replaces: Option<String>,
    pub replaced_by: Option<String>,
    pub title: String,
    pub state: DocumentState,
    pub job_id: String,
    pub version: Option<u64>,
    pub score_before: Option<f64>,
    pub score_after: Option<f64>,
    pub created_at: String,
}

/// Shares of a document's probes answered right before and after the update, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Scores {
    pub before: Option<f32>,
    pub after: Option<f32>,
}

/// A document to be stored with its job. It has its id already, so that the job's input can name it.
#[derive(Debug, Clone)]
pub struct NewDocument {
    pub id: String,
    pub title: String,
    pub text: String,
    pub metadata: Value,
    pub questions: Vec<Question>,
    /// The client's own name of the document, unique among the documents in force of an alias unless the client keeps
    /// several.
    pub external_id: Option<String>,
    /// Whether the document is learned even if it is known.
    pub again: bool,
    /// Whether the document may replace an earlier text of itself.
    pub replace: bool,
}

#[derive(Debug, Clone, Default)]
pub struct DocumentFilter<'a> {
    pub alias: Option<&'a str>,
    pub external_id: Option<&'a str>,
    pub state: Option<DocumentState>,
}

impl NewDocument {
    /// A document that is stored whether or not it is known, and replaces none.
    pub fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        NewDocument {
            id: new_id("doc"),
            title: title.into(),
            text: text.into(),
            metadata: json!({}),
            questions: Vec::new(),
            external_id: None,
            again: true,
            replace: false,
        }
    }
}

pub struct Documents<'a>(pub(super) &'a Store);

impl Documents<'_> {
    pub fn get(&self, id: &str) -> Result<Option<Document>> {
        self.0.read("read a document", |c| {
            c.prepare_cached("SELECT * FROM documents WHERE id = ?1")?
                .query_row([id], document)
                .optional()
        })
    }

    /// The documents of a job, in the order of the request.
    pub fn for_job(&self, job_id: &str) -> Result<Vec<Document>> {
        self.0.read("read the documents of a job", |c| {
            c.prepare_cached("SELECT * FROM documents WHERE job_id = ?1 ORDER BY rowid")?
                .query_map([job_id], document)?
                .collect()
        })
    }

    /// The learned documents of an alias, oldest first, for replay and retention.
    pub fn learned(&self, alias: &str) -> Result<Vec<Document>> {
        self.0.read("read learned documents", |c| {
            c.prepare_cached(
                "SELECT * FROM documents WHERE alias = ?1 AND state = 'learned' ORDER BY rowid",
            )?
            .query_map([alias], document)?
            .collect()
        })
    }

    /// The documents, newest first.
    pub fn list(
        &self,
        filter: DocumentFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<DocumentSummary>> {
        let limit = page_limit(limit);
        let rows = self.0.read("list documents", |c| {
            c.prepare_cached(
                "SELECT * FROM documents
                 WHERE (?1 IS NULL OR alias = ?1) AND (?2 IS NULL OR state = ?2)
                   AND (?3 IS NULL OR id < ?3) AND (?5 IS NULL OR external_id = ?5)
                 ORDER BY id DESC LIMIT ?4",
            )?
            .query_map(
                params![
                    filter.alias,
                    filter.state,
                    after,
                    limit as i64 + 1,
                    filter.external_id
                ],
                summary,
            )?
            .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(Page::cut(rows, limit, |d| d.id.clone()))
    }

    /// Number of documents in each state. States without documents are left out.
    pub fn counts(&self) -> Result<Vec<(DocumentState, u64)>> {
        self.0.read("count documents", |c| {
            c.prepare_cached(
                "SELECT state, sum(n) FROM (SELECT state, count(*) AS n FROM documents GROUP BY state
                     UNION ALL SELECT state, count FROM gone_documents) GROUP BY state",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?
            .collect()
        })
    }

    /// Sets a document's state. `version`: `None` keeps the stored version.
    pub fn set_state(&self, id: &str, state: DocumentState, version: Option<u64>) -> Result<()> {
        self.0.write("set the state of a document", |tx| {
            tx.execute(
                "UPDATE documents SET state = ?2, version = coalesce(?3, version), updated_at = ?4
                 WHERE id = ?1",
                params![id, state, version.map(|v| v as i64), now()],
            )?;
            Ok(())
        })
    }

    /// Stores the gate's verdict, for the metrics.
    pub fn set_verdict(&self, id: &str, verdict: GateVerdict) -> Result<()> {
        self.0.write("set the verdict on a document", |tx| {
            tx.execute(
                "UPDATE documents SET verdict = ?2 WHERE id = ?1",
                params![id, verdict],
            )?;
            Ok(())
        })
    }

    /// Number of updates with each verdict. Verdicts without updates are left out.
    pub fn verdicts(&self) -> Result<Vec<(GateVerdict, u64)>> {
        self.0.read("count verdicts", |c| {
            c.prepare_cached(
                "SELECT verdict, sum(n) FROM (SELECT verdict, count(*) AS n FROM documents
                     WHERE verdict IS NOT NULL GROUP BY verdict
                     UNION ALL SELECT verdict, count FROM gone_documents WHERE verdict != '')
                 GROUP BY verdict",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)))?
            .collect()
        })
    }

    /// Stores a document's report. `scores`: the report's scores, for lists.
    pub fn set_report(&self, id: &str, report: &Value, scores: Scores) -> Result<()> {
        self.0.write("set the report of a document", |tx| {
            tx.execute(
                "UPDATE documents SET report = ?2, score_before = ?3, score_after = ?4, updated_at = ?5
                 WHERE id = ?1",
                params![
                    id,
                    Figures(report),
                    scores.before.map(decimal),
                    scores.after.map(decimal),
                    now()
                ],
            )?;
            Ok(())
        })
    }
}

/// The documents of a job as they were posted, none of them known before.
pub(super) fn posted(c: &Connection, job_id: &str) -> rusqlite::Result<Vec<Posted>> {
    c.prepare_cached("SELECT id FROM documents WHERE job_id = ?1 ORDER BY rowid")?
        .query_map([job_id], |row| {
            Ok(Posted {
                id: row.get(0)?,
                known: false,
            })
        })?
        .collect()
}

/// Inserts the documents that are not known.
pub(super) fn insert_many(
    tx: &Transaction,
    alias: &str,
    job_id: &str,
    documents: &[NewDocument],
    identities: &[Identity],
) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO documents
             (id, alias, title, text, metadata, questions, state, job_id, created_at, updated_at,
              external_id, digest, title_key, replaces)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'queued', ?7, ?8, ?8, ?9, ?10, ?11, ?12)",
    )?;
    for (d, identity) in documents.iter().zip(identities) {
        let Identity::New {
            replaces,
            external_id,
        } = identity
        else {
            continue;
        };
        insert.execute(params![
            d.id,
            alias,
            d.title,
            d.text,
            Json(&d.metadata),
            Json(&d.questions),
            job_id,
            now(),
            external_id,
            document_digest(&d.title, &d.text),
            title_key(&d.title),
            replaces
        ])?;
    }
    Ok(())
}

/// Gives a final state to the unfinished documents of a job, each with its event.
pub(super) fn settle(tx: &Transaction, job_id: &str, state: DocumentState) -> rusqlite::Result<()> {
    let open = unfinished(tx, job_id)?;
    for (id, title) in open {
        tx.execute(
            "UPDATE documents SET state = ?2, updated_at = ?3 WHERE id = ?1",
            params![id, state, now()],
        )?;
        let data = json!({"document_id": id, "title": title, "state": state});
        events::append(tx, job_id, "document", &data)?;
    }
    Ok(())
}

fn unfinished(c: &Connection, job_id: &str) -> rusqlite::Result<Vec<(String, String)>> {
    c.prepare_cached(
        "SELECT id, title FROM documents
         WHERE job_id = ?1 AND state IN ('queued', 'learning') ORDER BY rowid",
    )?
    .query_map([job_id], |row| Ok((row.get(0)?, row.get(1)?)))?
    .collect()
}

fn document(row: &Row) -> rusqlite::Result<Document> {
    Ok(Document {
        id: row.get("id")?,
        alias: row.get("alias")?,
        external_id: row.get("external_id")?,
        digest: row.get("digest")?,
        replaces: row.get("replaces")?,
        replaced_by: row.get("replaced_by")?,
        title: row.get("title")?,
        text: row.get("text")?,
        metadata: row.get::<_, Json<_>>("metadata")?.0,
        questions: row.get::<_, Json<_>>("questions")?.0,
        state: row.get("state")?,
        job_id: row.get("job_id")?,
        version: row.get::<_, Option<i64>>("version")?.map(|v| v as u64),
        report: row
            .get::<_, Option<RecordText>>("report")?
            .map(|text| text.0),
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}

fn summary(row: &Row) -> rusqlite::Result<DocumentSummary> {
    Ok(DocumentSummary {
        id: row.get("id")?,
        alias: row.get("alias")?,
        external_id: row.get("external_id")?,
        digest: row.get("digest")?,
        replaces: row.get("replaces")?,
        replaced_by: row.get("replaced_by")?,
        title: row.get("title")?,
        state: row.get("state")?,
        job_id: row.get("job_id")?,
        version: row.get::<_, Option<i64>>("version")?.map(|v| v as u64),
        score_before: row.get("score_before")?,
        score_after: row.get("score_after")?,
        created_at: row.get("created_at")?,
    })
}
