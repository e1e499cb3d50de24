//! The handler's view of the job that it runs.

use super::Jobs;
use crate::store::{self, Job, JobError, Progress, Store};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Least time between two stored progress reports of one stage.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// The reason why a handler must stop now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    #[error("the job was cancelled")]
    Cancelled,
    #[error("the job was paused")]
    Paused,
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// The end of a handler without a result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JobFailure {
    #[error("{}: {}", .0.code, .0.message)]
    Failed(JobError),
    /// Not a failure: a check asked the handler to stop.
    #[error(transparent)]
    Stopped(#[from] Stop),
}

impl JobFailure {
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        JobFailure::Failed(JobError {
            code: code.into(),
            message: message.into(),
        })
    }
}

impl From<store::Error> for JobFailure {
    fn from(error: store::Error) -> Self {
        JobFailure::new("storage", error.to_string())
    }
}

pub struct JobContext {
    jobs: Jobs,
    job: Job,
    shutting_down: Arc<AtomicBool>,
    pace: Mutex<Pace>,
}

/// The time of the last stored progress, and the data for the speed estimate.
#[derive(Default)]
struct Pace {
    written: Option<(Instant, String)>,
    /// Time and fraction of the first report of this process. The estimate starts there.
    first: Option<(Instant, f32)>,
    /// A report held back because of the interval.
    pending: Option<Progress>,
}

impl JobContext {
    /// A context for a job. The runner makes it; tests of a handler may too.
    pub fn new(jobs: &Jobs, job: Job, shutting_down: Arc<AtomicBool>) -> Self {
        JobContext {
            jobs: jobs.clone(),
            job,
            shutting_down,
            pace: Mutex::default(),
        }
    }

    pub fn id(&self) -> &str {
        &self.job.id
    }

    /// The job as of the time of the lease.
    pub fn job(&self) -> &Job {
        &self.job
    }

    pub fn store(&self) -> &Store {
        self.jobs.store()
    }

    /// The stored result of a finished step, maybe from an earlier process.
    pub fn recall(&self, key: &str) -> Result<Option<Value>, store::Error> {
        self.store().events().step_get(self.id(), key)
    }

    /// Stores the result of a finished step; durable on return.
    pub fn remember(&self, key: &str, value: &Value) -> Result<(), store::Error> {
        self.store().events().step_put(self.id(), key, value)
    }

    /// Stores the result of a finished step together with its event, in one transaction.
    pub fn remember_with_event(
        &self,
        key: &str,
        value: &Value,
        kind: &str,
        data: &Value,
    ) -> Result<(), store::Error> {
        let events = self.store().events();
        events.step_put_with_event(self.id(), key, value, kind, data)?;
        self.jobs.wake(self.id());
        Ok(())
    }

    /// Reports the progress (`fraction` of the whole job, 0 to 1) and estimates the remaining time.
    /// A new stage is stored at once; within a stage a report is stored at most every 250 ms.
    pub fn progress(&self, stage: &str, fraction: f32, message: &str) -> Result<(), store::Error> {
        let now = Instant::now();
        let mut pace = self.pace();
        let fraction = fraction.clamp(0.0, 1.0);
        let (began, from) = *pace.first.get_or_insert((now, fraction));
        let progress = Progress {
            stage: stage.into(),
            fraction,
            eta_seconds: estimate(now - began, from, fraction),
            message: message.into(),
        };
        let due = pace
            .written
            .as_ref()
            .is_none_or(|(at, last)| last != stage || now - *at >= PROGRESS_INTERVAL);
        if !due {
            pace.pending = Some(progress);
            return Ok(());
        }
        pace.written = Some((now, stage.into()));
        pace.pending = None;
        self.write(&progress)
    }

    /// Appends an event and returns its number; durable on return.
    pub fn event(&self, kind: &str, data: Value) -> Result<u64, store::Error> {
        let seq = self.store().events().append(self.id(), kind, &data)?;
        self.jobs.wake(self.id());
        Ok(seq)
    }

    /// A handler calls this between slices of work. It must return the error if there is one.
    pub fn check(&self) -> Result<(), Stop> {
        if self.shutting_down.load(Ordering::Relaxed) {
            return Err(Stop::ShuttingDown);
        }
        match self.store().jobs().get(self.id()) {
            Ok(Some(job)) if job.cancel_requested => Err(Stop::Cancelled),
            Ok(Some(job)) if job.pause_requested => Err(Stop::Paused),
            Ok(_) => Ok(()),
            // A request that cannot be read now is read at the next check.
            Err(error) => {
                tracing::warn!(job = self.id(), %error, "cannot check for a wish to stop");
                Ok(())
            }
        }
    }

    /// Stores the report held back because of the interval.
    pub(super) fn flush(&self) -> Result<(), store::Error> {
        match self.pace().pending.take() {
            Some(progress) => self.write(&progress),
            None => Ok(()),
        }
    }

    fn write(&self, progress: &Progress) -> Result<(), store::Error> {
        self.store().events().progress(self.id(), progress)?;
        self.jobs.wake(self.id());
        Ok(())
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remaining seconds, at the mean speed of this process so far.
fn estimate(elapsed: Duration, from: f32, fraction: f32) -> Option<f32> {
    let done = fraction - from;
    (done > 0.0).then(|| elapsed.as_secs_f32() * (1.0 - fraction) / done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_extends_the_pace_of_this_life() {
        let ten = Duration::from_secs(10);
        assert_eq!(estimate(ten, 0.0, 0.25), Some(30.0));
        // The job resumed at one half: only the last ten seconds count.
        assert_eq!(estimate(ten, 0.5, 0.75), Some(10.0));
        assert_eq!(estimate(ten, 0.5, 0.5), None);
    }
}
