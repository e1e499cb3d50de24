//! Jobs as rows: input, progress and outcome. `queue.rs` has the moves from state to state.

use super::documents::{self, NewDocument};
use super::error::Result;
use super::idempotency::{self, IdempotencyKey, Remembered};
use super::known::{self, Identity};
use super::sql::{Figures, Json, page_limit, text_enum};
use super::{Page, Store, events, new_id, now};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

text_enum! {
    pub enum JobKind {
        /// Learn documents into an alias.
        Ingest = "ingest",
        /// Train an adapter on one task's examples, and answer.
        Adapt = "adapt",
        /// Teach a policy to write self-edits.
        Train = "train",
        /// Learn an alias again without a document.
        Unlearn = "unlearn",
    }
}

impl JobKind {
    /// Whether the job runs in the background. A background job has a worker of its own and delays no other job.
    pub fn is_background(self) -> bool {
        self == JobKind::Train
    }
}

text_enum! {
    pub enum JobState {
        Queued = "queued",
        Running = "running",
        Paused = "paused",
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
    }
}

impl JobState {
    /// Whether the job has ended and will never change again.
    pub fn is_terminal(self) -> bool {
        matches!(
            self,
            JobState::Succeeded | JobState::Failed | JobState::Cancelled
        )
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Progress {
    pub stage: String,
    /// Done fraction of the whole job, 0 to 1.
    pub fraction: f32,
    pub eta_seconds: Option<f32>,
    pub message: String,
}

/// The error of a failed job: a stable code and a sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobError {
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    pub id: String,
    pub kind: JobKind,
    pub alias: String,
    pub state: JobState,
    pub input: Value,
    pub progress: Progress,
    pub result: Option<Value>,
    pub error: Option<JobError>,
    /// 1, plus 1 for every time the process died while the job ran.
    pub attempt: u32,
    pub cancel_requested: bool,
    pub pause_requested: bool,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
}

#[derive(Debug, Clone)]
pub struct NewJob<'a> {
    pub kind: JobKind,
    pub alias: &'a str,
    pub input: &'a Value,
    /// Documents to learn. Known ones are not stored again, and leave the list `documents` of the input.
    pub documents: &'a [NewDocument],
    pub idempotency: Option<&'a IdempotencyKey>,
    /// Number of queued jobs at which a submission is refused.
    pub queue_limit: usize,
    /// Estimated running time, if known.
    pub estimate_seconds: Option<f32>,
}

/// Outcome of a submission.
#[derive(Debug, Clone, PartialEq)]
pub enum Submission {
    New(Job, Vec<Posted>),
    /// Every document is known, so there is no new job. Holds the job that learns or learned them.
    Known(Job, Vec<Posted>),
    /// The key was seen with the same request; holds its job.
    Repeated(Job, Vec<Posted>),
    /// The document is being unlearned already; holds the job.
    Unlearning(Job),
    /// The key was seen with another request.
    KeyReused,
    QueueFull {
        queued: usize,
    },
}

/// A posted document: stored with its job, or known from before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// Id of the stored document.
    pub id: String,
    pub known: bool,
}

#[derive(Debug, Clone, Default)]
pub struct JobFilter<'a> {
    pub alias: Option<&'a str>,
    pub state: Option<JobState>,
}

pub struct Jobs<'a>(pub(super) &'a Store);

impl Jobs<'_> {
    /// Stores a job, its documents, its key and its first event, in one transaction.
    pub fn submit(&self, new: NewJob) -> Result<Submission> {
        self.0.write("submit a job", |tx| {
            if let Some(key) = new.idempotency {
                match idempotency::look_up(tx, key)? {
                    Remembered::Fresh => {}
                    Remembered::Same(id, posted) => {
                        let job = get(tx, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                        let posted = match posted {
                            Some(posted) => posted,
                            None => documents::posted(tx, &id)?,
                        };
                        return Ok(Submission::Repeated(job, posted));
                    }
                    Remembered::Different => return Ok(Submission::KeyReused),
                }
            }
            if let Some(job) = same_unlearning(tx, &new)? {
                return Ok(Submission::Unlearning(job));
            }
            tx.execute_batch("SAVEPOINT posted")?;
            let identities = known::identify(tx, new.alias, new.documents)?;
            let posted = posted(new.documents, &identities);
            if !posted.is_empty() && posted.iter().all(|p| p.known) {
                let job = job_of(tx, &posted)?;
                if let Some(key) = new.idempotency {
                    idempotency::remember(tx, key, &job.id, &posted)?;
                }
                return Ok(Submission::Known(job, posted));
            }
            let queued = count_queued(tx)?;
            if queued >= new.queue_limit {
                // A refused post leaves nothing: `identify` may have given a known document its name.
                tx.execute_batch("ROLLBACK TO posted")?;
                return Ok(Submission::QueueFull { queued });
            }
            let id = new_id("job");
            tx.execute(
                "INSERT INTO jobs (id, kind, alias, state, input, progress, attempt, created_at)
                 VALUES (?1, ?2, ?3, 'queued', ?4, ?5, 1, ?6)",
                params![
                    id,
                    new.kind,
                    new.alias,
                    Json(&without_known(new.input, &posted)),
                    Figures(&Progress {
                        eta_seconds: new.estimate_seconds,
                        ..Progress::default()
                    }),
                    now()
                ],
            )?;
            documents::insert_many(tx, new.alias, &id, new.documents, &identities)?;
            if let Some(key) = new.idempotency {
                idempotency::remember(tx, key, &id, &posted)?;
            }
            events::append(tx, &id, "state", &json!({"state": JobState::Queued}))?;
            let job = get(tx, &id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            Ok(Submission::New(job, posted))
        })
    }

    pub fn get(&self, id: &str) -> Result<Option<Job>> {
        self.0.read("read a job", |c| get(c, id))
    }

    /// The jobs, newest first.
    pub fn list(&self, filter: JobFilter, after: Option<&str>, limit: usize) -> Result<Page<Job>> {
        let limit = page_limit(limit);
        let rows = self.0.read("list jobs", |c| {
            c.prepare_cached(
                "SELECT * FROM jobs
                 WHERE (?1 IS NULL OR alias = ?1) AND (?2 IS NULL OR state = ?2)
                   AND (?3 IS NULL OR id < ?3)
                 ORDER BY id DESC LIMIT ?4",
            )?
            .query_map(
                params![filter.alias, filter.state, after, limit as i64 + 1],
                job,
            )?
            .collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(Page::cut(rows, limit, |j| j.id.clone()))
    }

    /// Number of jobs of each kind in each state, for the metrics.
    pub fn counts(&self) -> Result<Vec<(JobKind, JobState, u64)>> {
        self.0.read("count jobs", |c| {
            c.prepare_cached("SELECT kind, state, count(*) FROM jobs GROUP BY kind, state")?
                .query_map([], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? as u64))
                })?
                .collect()
        })
    }

    /// Mean running time in seconds of the last twenty jobs that succeeded.
    pub fn typical_seconds(&self) -> Result<Option<f64>> {
        self.0.read("read how long jobs take", |c| {
            c.query_row(
                "SELECT avg(86400 * (julianday(finished_at) - julianday(started_at))) FROM
                     (SELECT started_at, finished_at FROM jobs WHERE state = 'succeeded'
                      ORDER BY id DESC LIMIT 20)",
                [],
                |row| row.get(0),
            )
        })
    }
}

fn posted(documents: &[NewDocument], identities: &[Identity]) -> Vec<Posted> {
    let posted = documents.iter().zip(identities);
    let posted = posted.map(|(document, identity)| match identity {
        Identity::Known(id) => (id, true),
        Identity::New { .. } => (&document.id, false),
    });
    posted
        .map(|(id, known)| Posted {
            id: id.clone(),
            known,
        })
        .collect()
}

/// The job of known documents: an unfinished one if there is any, else the first document's.
fn job_of(c: &Connection, posted: &[Posted]) -> rusqlite::Result<Job> {
    let ids: Vec<&str> = posted.iter().map(|p| p.id.as_str()).collect();
    c.prepare_cached(
        "SELECT jobs.* FROM json_each(?1) AS posted JOIN documents ON documents.id = posted.value
         JOIN jobs ON jobs.id = job_id ORDER BY jobs.finished_at IS NOT NULL, posted.key LIMIT 1",
    )?
    .query_row([Json(ids)], job)
}

/// The job's input, whose list `documents` names the documents to learn.
fn without_known(input: &Value, posted: &[Posted]) -> Value {
    let mut input = input.clone();
    let listed = input.get_mut("documents").and_then(Value::as_array_mut);
    if let Some(listed) = listed.filter(|_| posted.iter().any(|p| p.known)) {
        let new = posted.iter().filter(|p| !p.known);
        *listed = new.map(|p| Value::from(p.id.as_str())).collect();
    }
    input
}

/// The unfinished job that unlearns the same document.
fn same_unlearning(c: &Connection, new: &NewJob) -> rusqlite::Result<Option<Job>> {
    if new.kind != JobKind::Unlearn {
        return Ok(None);
    }
    c.prepare_cached(
        "SELECT * FROM jobs WHERE alias = ?1 AND kind = 'unlearn' AND finished_at IS NULL
           AND input ->> 'document' = ?2",
    )?
    .query_row(params![new.alias, new.input["document"].as_str()], job)
    .optional()
}

pub(super) fn get(c: &Connection, id: &str) -> rusqlite::Result<Option<Job>> {
    c.prepare_cached("SELECT * FROM jobs WHERE id = ?1")?
        .query_row([id], job)
        .optional()
}

fn count_queued(c: &Connection) -> rusqlite::Result<usize> {
    c.query_row(
        "SELECT count(*) FROM jobs WHERE state = 'queued'",
        [],
        |row| Ok(row.get::<_, i64>(0)? as usize),
    )
}

fn job(row: &Row) -> rusqlite::Result<Job> {
    Ok(Job {
        id: row.get("id")?,
        kind: row.get("kind")?,
        alias: row.get("alias")?,
        state: row.get("state")?,
        input: row.get::<_, Json<_>>("input")?.0,
        progress: row.get::<_, Json<_>>("progress")?.0,
        result: row.get::<_, Option<Json<_>>>("result")?.map(|json| json.0),
        error: row.get::<_, Option<Json<_>>>("error")?.map(|json| json.0),
        attempt: row.get("attempt")?,
        cancel_requested: row.get("cancel_requested")?,
        pause_requested: row.get("pause_requested")?,
        created_at: row.get("created_at")?,
        started_at: row.get("started_at")?,
        finished_at: row.get("finished_at")?,
    })
}
