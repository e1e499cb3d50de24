//! The operations on jobs for workflows and HTTP.

use super::subscription::Subscription;
use super::wake::{Subscribers, WorkBell};
use super::{Error, Result};
use crate::adapters::AliasName;
use crate::store::{
    IdempotencyKey, Job, JobFilter, JobKind, NewDocument, NewJob, Page, Posted, Store, Submission,
    Transition,
};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The outcome of a submission.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The new job, the job of the same earlier request, or the job of the known documents.
    pub job: Job,
    /// The documents in the order of the request.
    pub posted: Vec<Posted>,
    /// Whether every document is known, so that there is nothing to learn.
    pub all_known: bool,
}

/// The jobs of a store. Clones share one state. All methods block for the disk, except `wait` and the subscription's
/// `next`.
#[derive(Clone)]
pub struct Jobs {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub store: Store,
    pub subscribers: Subscribers,
    pub bell: WorkBell,
    queue_limit: usize,
}

impl Jobs {
    /// `queue_limit`: the number of queued jobs at which `submit` refuses.
    pub fn new(store: Store, queue_limit: usize) -> Jobs {
        Jobs {
            shared: Arc::new(Shared {
                store,
                subscribers: Subscribers::default(),
                bell: WorkBell::default(),
                queue_limit,
            }),
        }
    }

    /// Stores a job without documents. The same request with the same key returns the same job.
    pub fn submit(
        &self,
        kind: JobKind,
        alias: &AliasName,
        input: &Value,
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Job> {
        let new = NewJob {
            idempotency,
            ..self.new_job(kind, alias, input)
        };
        Ok(self.accept(new)?.job)
    }

    /// Stores an ingest with those of its documents that are not known. `input`: its list `documents` names them all.
    pub fn submit_documents(
        &self,
        alias: &AliasName,
        input: &Value,
        documents: &[NewDocument],
        idempotency: Option<&IdempotencyKey>,
    ) -> Result<Accepted> {
        self.accept(NewJob {
            documents,
            idempotency,
            ..self.new_job(JobKind::Ingest, alias, input)
        })
    }

    /// Stores a job that unlearns a document, or returns the unfinished one that does.
    pub fn submit_unlearning(
        &self,
        alias: &AliasName,
        input: &Value,
        estimate_seconds: Option<f32>,
    ) -> Result<Job> {
        let new = NewJob {
            estimate_seconds,
            ..self.new_job(JobKind::Unlearn, alias, input)
        };
        Ok(self.accept(new)?.job)
    }

    fn new_job<'a>(&self, kind: JobKind, alias: &'a AliasName, input: &'a Value) -> NewJob<'a> {
        NewJob {
            kind,
            alias: alias.as_str(),
            input,
            documents: &[],
            idempotency: None,
            queue_limit: self.shared.queue_limit,
            estimate_seconds: None,
        }
    }

    fn accept(&self, new: NewJob) -> Result<Accepted> {
        let (limit, key) = (new.queue_limit, new.idempotency.map(|i| i.key.clone()));
        match self.store().jobs().submit(new)? {
            Submission::New(job, posted) => {
                self.shared.bell.ring();
                Ok(Accepted {
                    job,
                    posted,
                    all_known: false,
                })
            }
            Submission::Known(job, posted) => Ok(Accepted {
                job,
                posted,
                all_known: true,
            }),
            Submission::Repeated(job, posted) => Ok(Accepted {
                job,
                all_known: !posted.is_empty() && posted.iter().all(|p| p.known),
                posted,
            }),
            Submission::Unlearning(job) => Ok(Accepted {
                job,
                posted: Vec::new(),
                all_known: false,
            }),
            Submission::KeyReused => Err(Error::KeyReused {
                key: key.unwrap_or_default(),
            }),
            Submission::QueueFull { queued } => Err(Error::QueueFull {
                queued,
                limit,
                retry_after: self.retry_after()?,
            }),
        }
    }

    pub fn get(&self, id: &str) -> Result<Job> {
        let job = self.store().jobs().get(id)?;
        job.ok_or_else(|| Error::Unknown { id: id.into() })
    }

    /// The jobs, newest first.
    pub fn list(&self, filter: JobFilter, after: Option<&str>, limit: usize) -> Result<Page<Job>> {
        Ok(self.store().jobs().list(filter, after, limit)?)
    }

    /// Cancels the job and its documents: at once if no worker runs the job, else at the next check.
    pub fn cancel(&self, id: &str) -> Result<Job> {
        let transition = self.store().jobs().cancel(id)?;
        self.settle(id, transition, "cancelled")
    }

    /// Like `cancel`, but the job can be resumed.
    pub fn pause(&self, id: &str) -> Result<Job> {
        let transition = self.store().jobs().pause(id)?;
        self.settle(id, transition, "paused")
    }

    pub fn resume(&self, id: &str) -> Result<Job> {
        let transition = self.store().jobs().resume(id)?;
        self.settle(id, transition, "resumed")
    }

    /// Waits for the job's end, but at most `timeout`, and returns the job.
    pub async fn wait(&self, id: &str, timeout: Duration) -> Result<Job> {
        let mut wake = self.shared.subscribers.subscribe(id);
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            wake.borrow_and_update();
            let job = self.read(id).await?;
            if job.state.is_terminal() {
                return Ok(job);
            }
            match tokio::time::timeout_at(deadline, wake.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return self.read(id).await,
            }
        }
    }

    /// The job's events after number `since`: first the stored ones, then new ones, up to the terminal event.
    pub fn subscribe(&self, id: &str, since: u64) -> Result<Subscription> {
        self.get(id)?;
        Ok(Subscription::new(self.clone(), id, since))
    }

    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Wakes the subscribers of a job.
    pub(super) fn wake(&self, id: &str) {
        self.shared.subscribers.wake(id);
    }

    async fn read(&self, id: &str) -> Result<Job> {
        let (jobs, id) = (self.clone(), id.to_owned());
        tokio::task::spawn_blocking(move || jobs.get(&id)).await?
    }

    fn settle(&self, id: &str, transition: Transition, wish: &'static str) -> Result<Job> {
        match transition {
            Transition::Done(job) => {
                self.wake(id);
                self.shared.bell.ring();
                Ok(job)
            }
            Transition::Refused(job) => Err(Error::Finished {
                id: job.id,
                state: job.state,
                wish,
            }),
            Transition::Unknown => Err(Error::Unknown { id: id.into() }),
        }
    }

    /// Estimated time until a job ends and frees a place: the mean running time of recent jobs.
    fn retry_after(&self) -> Result<Duration> {
        let seconds = self.store().jobs().typical_seconds()?.unwrap_or(30.0);
        Ok(Duration::from_secs(seconds.ceil().clamp(1.0, 600.0) as u64))
    }
}
