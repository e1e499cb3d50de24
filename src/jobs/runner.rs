//! The workers: threads that lease jobs and hand them to their handlers.

use super::{JobContext, JobFailure, Jobs, Result, Stop};
use crate::store::{Job, JobError, JobKind, Outcome};
use serde_json::Value;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Time before a worker retries after an error of the store.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// Does the work of one kind of job. A handler calls [`JobContext::check`] between slices of work and returns its
/// error. It remembers finished steps ([`JobContext::remember`]), because it may be called again for the same job.
pub trait Handler: Send + Sync {
    fn run(&self, cx: &JobContext, input: Value) -> Result<Value, JobFailure>;
}

pub type Handlers = HashMap<JobKind, Arc<dyn Handler>>;

/// Running workers. Dropping the runner shuts them down like [`Runner::shutdown`].
pub struct Runner {
    jobs: Jobs,
    shutting_down: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Runner {
    /// Queues the jobs of a killed process again. Starts `workers` threads, and one more for background jobs if there
    /// is a handler for them.
    pub fn start(jobs: &Jobs, handlers: Handlers, workers: usize) -> Result<Runner> {
        for id in jobs.store().jobs().requeue_orphans()? {
            tracing::info!(job = id, "resuming after an unclean stop");
            jobs.wake(&id);
        }
        let shutting_down = Arc::new(AtomicBool::new(false));
        let handlers = Arc::new(handlers);
        let (background, foreground): (Vec<_>, Vec<_>) = JobKind::ALL
            .iter()
            .copied()
            .partition(|kind| kind.is_background());
        let practises = background.iter().any(|kind| handlers.contains_key(kind));
        let lanes = (0..workers).map(|n| (format!("job-worker-{n}"), foreground.clone()));
        let practice = practises.then(|| ("job-worker-background".to_owned(), background));
        let workers = lanes
            .chain(practice)
            .map(|(name, kinds)| {
                let worker = Worker {
                    name,
                    kinds,
                    jobs: jobs.clone(),
                    handlers: handlers.clone(),
                    shutting_down: shutting_down.clone(),
                };
                thread::Builder::new()
                    .name(worker.name.clone())
                    .spawn(move || worker.work())
                    .expect("the system starts a thread")
            })
            .collect();
        Ok(Runner {
            jobs: jobs.clone(),
            shutting_down,
            workers,
        })
    }

    /// Stops leasing, asks running jobs to stop at their next check, and returns when all have stopped. These jobs go
    /// back to the queue, and the next process resumes them.
    pub fn shutdown(self) {
        drop(self);
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.shutting_down.store(true, Ordering::Relaxed);
        self.jobs.shared.bell.ring();
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a job worker panicked outside of a job");
            }
        }
    }
}

struct Worker {
    name: String,
    /// The kinds of job that this worker leases.
    kinds: Vec<JobKind>,
    jobs: Jobs,
    handlers: Arc<Handlers>,
    shutting_down: Arc<AtomicBool>,
}

impl Worker {
    fn work(&self) {
        let bell = &self.jobs.shared.bell;
        loop {
            let seen = bell.count();
            if self.shutting_down.load(Ordering::Relaxed) {
                return;
            }
            match self.jobs.store().jobs().lease(&self.name, &self.kinds) {
                Ok(Some(job)) => self.run(job),
                Ok(None) => bell.wait_beyond(seen, None),
                Err(error) => {
                    tracing::error!(%error, "cannot lease a job");
                    bell.wait_beyond(seen, Some(STORE_RETRY));
                }
            }
        }
    }

    fn run(&self, job: Job) {
        let id = job.id.clone();
        self.jobs.wake(&id);
        tracing::info!(job = id, kind = %job.kind, alias = job.alias, attempt = job.attempt, "job starts");
        let outcome = self.outcome(job);
        self.finish(&id, &outcome);
        self.jobs.wake(&id);
        // The job's alias is free again, and another worker may wait for it.
        self.jobs.shared.bell.ring();
    }

    fn outcome(&self, job: Job) -> Outcome {
        let Some(handler) = self.handlers.get(&job.kind) else {
            return failed("no_handler", format!("nothing here runs {} jobs", job.kind));
        };
        let input = job.input.clone();
        let cx = JobContext::new(&self.jobs, job, self.shutting_down.clone());
        let result = catch_unwind(AssertUnwindSafe(|| handler.run(&cx, input)));
        if let Err(error) = cx.flush() {
            tracing::warn!(job = cx.id(), %error, "cannot store the last progress");
        }
        match result {
            Ok(Ok(value)) => Outcome::Succeeded(value),
            Ok(Err(JobFailure::Failed(error))) => Outcome::Failed(error),
            Ok(Err(JobFailure::Stopped(Stop::Cancelled))) => Outcome::Cancelled,
            Ok(Err(JobFailure::Stopped(Stop::Paused))) => Outcome::Paused,
            Ok(Err(JobFailure::Stopped(Stop::ShuttingDown))) => Outcome::GivenBack,
            Err(panic) => failed("panic", panic_message(&*panic)),
        }
    }

    /// Stores the outcome, with retries: a job that stayed `running` would keep its alias locked.
    fn finish(&self, id: &str, outcome: &Outcome) {
        tracing::info!(job = id, %outcome, "job ends");
        while let Err(error) = self.jobs.store().jobs().finish(id, outcome) {
            tracing::error!(job = id, %error, "cannot store the end of a job");
            if self.shutting_down.load(Ordering::Relaxed) {
                return; // the next process finds it running and resumes it
            }
            thread::sleep(STORE_RETRY);
        }
    }
}

fn failed(code: &str, message: String) -> Outcome {
    Outcome::Failed(JobError {
        code: code.into(),
        message,
    })
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the job panicked: {}", text.unwrap_or("no message"))
}
