//! Wake-ups for subscribers and workers when a job changes. A wake-up carries no data: its receiver reads the table, so
//! a double or late wake-up does no harm.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Subscribers of single jobs.
#[derive(Default)]
pub(super) struct Subscribers {
    by_job: Mutex<HashMap<String, watch::Sender<()>>>,
}

impl Subscribers {
    /// A receiver that wakes at every later change of the job.
    pub fn subscribe(&self, job_id: &str) -> watch::Receiver<()> {
        let mut by_job = lock(&self.by_job);
        by_job.retain(|_, sender| sender.receiver_count() > 0);
        let sender = by_job
            .entry(job_id.into())
            .or_insert_with(|| watch::Sender::new(()));
        sender.subscribe()
    }

    pub fn wake(&self, job_id: &str) {
        if let Some(sender) = lock(&self.by_job).get(job_id) {
            sender.send_replace(());
        }
    }
}

/// Wakes workers that wait for a job. It counts the rings, so that a ring between the look at the queue and the wait
/// is not lost.
#[derive(Default)]
pub(super) struct WorkBell {
    rung: Mutex<u64>,
    condvar: Condvar,
}

impl WorkBell {
    pub fn ring(&self) {
        *lock(&self.rung) += 1;
        self.condvar.notify_all();
    }

    pub fn count(&self) -> u64 {
        *lock(&self.rung)
    }

    /// Returns when the count of rings exceeds `seen`, or after `timeout`.
    pub fn wait_beyond(&self, seen: u64, timeout: Option<Duration>) {
        let rung = lock(&self.rung);
        match timeout {
            None => drop(self.condvar.wait_while(rung, |rung| *rung == seen)),
            Some(t) => drop(self.condvar.wait_timeout_while(rung, t, |r| *r == seen)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
