//! The moves of a job from state to state.
//!
//! ```text
//!            lease                finish
//!  queued ─────────► running ──────────────► succeeded | failed | cancelled
//!    ▲  ▲              │ │                          ▲
//!    │  └─ give back ──┘ └─ paused at a check       │ cancel, at once when nobody runs it
//!    └──── resume ──────────── paused ──────────────┘
//! ```
//!
//! A request to cancel or pause a running job is stored as a flag, and the worker obeys at its next check. Every move
//! appends its `state` event in the same transaction.

use super::documents::{self, DocumentState};
use super::error::Result;
use super::jobs::{Job, JobError, JobKind, JobState, Jobs, Progress, get};
use super::sql::{Figures, Json};
use super::{events, now};
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::{Value, json};
use std::fmt;

/// A job fails if the process died this often while the job ran: the job is probably the cause.
const MAX_ATTEMPTS: u32 = 16;

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Succeeded(Value),
    Failed(JobError),
    Cancelled,
    /// Stopped at a check, until a client resumes the job.
    Paused,
    /// Back to the queue, because the process is about to end.
    GivenBack,
}

/// The outcome's name, without its result.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Succeeded(_) => write!(f, "succeeded"),
            Outcome::Failed(error) => write!(f, "failed ({}): {}", error.code, error.message),
            Outcome::Cancelled => write!(f, "cancelled"),
            Outcome::Paused => write!(f, "paused"),
            Outcome::GivenBack => write!(f, "given back to the queue"),
        }
    }
}

/// The answer to a client's request to move a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    Unknown,
    /// The job's state does not allow it.
    Refused(Job),
    Done(Job),
}

impl Jobs<'_> {
    /// Leases the oldest queued job of an alias without a running job. The job is then running and owned by `owner`.
    pub fn lease_next(&self, owner: &str) -> Result<Option<Job>> {
        self.lease(owner, JobKind::ALL)
    }

    /// Like [`lease_next`](Self::lease_next), for these kinds only.
    pub fn lease(&self, owner: &str, kinds: &[JobKind]) -> Result<Option<Job>> {
        self.0.write("lease a job", |tx| {
            let leased: Option<String> = tx
                .prepare_cached(
                    "UPDATE jobs SET state = 'running', owner = ?1, heartbeat_at = ?2,
                            started_at = coalesce(started_at, ?2)
                     WHERE id = (SELECT id FROM jobs AS j WHERE state = 'queued'
                         AND kind IN (SELECT value FROM json_each(?3)) AND NOT EXISTS
                         (SELECT 1 FROM jobs WHERE alias = j.alias AND state = 'running')
                         ORDER BY id LIMIT 1)
                     RETURNING id",
                )?
                .query_row(params![owner, now(), Json(kinds)], |row| row.get(0))
                .optional()?;
            let Some(id) = leased else { return Ok(None) };
            state_event(tx, &id, JobState::Running)?;
            get(tx, &id)
        })
    }

    /// Called at process start. Jobs that ran when the last process died go back to the queue with `attempt + 1`,
    /// unless a client asked for cancel or pause before the crash. Returns their ids.
    pub fn requeue_orphans(&self) -> Result<Vec<String>> {
        self.0.write("requeue orphaned jobs", |tx| {
            let orphans: Vec<String> = tx
                .prepare("SELECT id FROM jobs WHERE state = 'running' ORDER BY id")?
                .query_map([], |row| row.get(0))?
                .collect::<rusqlite::Result<_>>()?;
            for id in &orphans {
                tx.execute("UPDATE jobs SET attempt = attempt + 1 WHERE id = ?1", [id])?;
                let Some(job) = get(tx, id)? else { continue };
                let outcome = if job.cancel_requested {
                    Outcome::Cancelled
                } else if job.attempt > MAX_ATTEMPTS {
                    Outcome::Failed(JobError {
                        code: "crashed".into(),
                        message: format!("the server died {MAX_ATTEMPTS} times while running it"),
                    })
                } else if job.pause_requested {
                    Outcome::Paused
                } else {
                    Outcome::GivenBack
                };
                end_run(tx, id, &outcome)?;
            }
            Ok(orphans)
        })
    }

    /// Ends a run. `false`: the job was not running any more.
    pub fn finish(&self, id: &str, outcome: &Outcome) -> Result<bool> {
        self.0.write("finish a job", |tx| match get(tx, id)? {
            Some(job) if job.state == JobState::Running => {
                end_run(tx, id, requested_outcome(&job, outcome))?;
                Ok(true)
            }
            _ => Ok(false),
        })
    }

    /// Cancels a waiting job at once. A running job stops at its next check.
    pub fn cancel(&self, id: &str) -> Result<Transition> {
        self.transition("cancel a job", id, |tx, job| match job.state {
            JobState::Queued | JobState::Paused => {
                end_run(tx, id, &Outcome::Cancelled)?;
                Ok(true)
            }
            JobState::Running => {
                tx.execute("UPDATE jobs SET cancel_requested = 1 WHERE id = ?1", [id])?;
                Ok(true)
            }
            _ => Ok(false),
        })
    }

    /// Pauses a queued job at once. A running job stops at its next check.
    pub fn pause(&self, id: &str) -> Result<Transition> {
        self.transition("pause a job", id, |tx, job| match job.state {
            JobState::Queued => {
                end_run(tx, id, &Outcome::Paused)?;
                Ok(true)
            }
            JobState::Running => {
                tx.execute("UPDATE jobs SET pause_requested = 1 WHERE id = ?1", [id])?;
                Ok(true)
            }
            JobState::Paused => Ok(true),
            _ => Ok(false),
        })
    }

    /// Queues a paused job again, or withdraws a pause that the worker has not obeyed yet.
    pub fn resume(&self, id: &str) -> Result<Transition> {
        self.transition("resume a job", id, |tx, job| match job.state {
            JobState::Paused => {
                end_run(tx, id, &Outcome::GivenBack)?;
                Ok(true)
            }
            JobState::Running => {
                tx.execute("UPDATE jobs SET pause_requested = 0 WHERE id = ?1", [id])?;
                Ok(true)
            }
            JobState::Queued => Ok(true),
            _ => Ok(false),
        })
    }

    fn transition(
        &self,
        what: &'static str,
        id: &str,
        act: impl FnOnce(&Transaction, &Job) -> rusqlite::Result<bool>,
    ) -> Result<Transition> {
        self.0.write(what, |tx| {
            let Some(job) = get(tx, id)? else {
                return Ok(Transition::Unknown);
            };
            let allowed = act(tx, &job)?;
            let job = get(tx, id)?.unwrap_or(job);
            Ok(if allowed {
                Transition::Done(job)
            } else {
                Transition::Refused(job)
            })
        })
    }
}

/// The outcome of a run that stopped half-way, by the clients' latest requests: these may be newer than the last
/// check.
fn requested_outcome<'a>(job: &Job, outcome: &'a Outcome) -> &'a Outcome {
    match outcome {
        Outcome::Paused | Outcome::GivenBack if job.cancel_requested => &Outcome::Cancelled,
        Outcome::GivenBack if job.pause_requested => &Outcome::Paused,
        // The pause was withdrawn.
        Outcome::Paused if !job.pause_requested => &Outcome::GivenBack,
        other => other,
    }
}

/// Moves a running or waiting job to the state of `outcome`, and settles its documents and events.
fn end_run(tx: &Transaction, id: &str, outcome: &Outcome) -> rusqlite::Result<()> {
    let (state, result, error) = match outcome {
        Outcome::Succeeded(value) => (JobState::Succeeded, Some(Figures(value)), None),
        Outcome::Failed(error) => (JobState::Failed, None, Some(Json(error))),
        Outcome::Cancelled => (JobState::Cancelled, None, None),
        Outcome::Paused => (JobState::Paused, None, None),
        Outcome::GivenBack => (JobState::Queued, None, None),
    };
    tx.execute(
        "UPDATE jobs SET state = ?2, result = ?3, error = ?4, finished_at = ?5, owner = NULL,
                heartbeat_at = NULL, cancel_requested = 0, pause_requested = 0 WHERE id = ?1",
        params![id, state, result, error, state.is_terminal().then(now)],
    )?;
    match state {
        JobState::Cancelled => documents::settle(tx, id, DocumentState::Cancelled)?,
        JobState::Failed => documents::settle(tx, id, DocumentState::Failed)?,
        JobState::Succeeded => complete_progress(tx, id)?,
        _ => {}
    }
    state_event(tx, id, state)
}

/// Sets the progress of a job that succeeded to 1, whatever its last report was.
fn complete_progress(tx: &Transaction, id: &str) -> rusqlite::Result<()> {
    let Some(job) = get(tx, id)? else {
        return Ok(());
    };
    let progress = Progress {
        fraction: 1.0,
        eta_seconds: None,
        ..job.progress
    };
    tx.execute(
        "UPDATE jobs SET progress = ?2 WHERE id = ?1",
        params![id, Figures(&progress)],
    )?;
    Ok(())
}

fn state_event(tx: &Transaction, id: &str, state: JobState) -> rusqlite::Result<()> {
    events::append(tx, id, "state", &json!({"state": state}))?;
    Ok(())
}
