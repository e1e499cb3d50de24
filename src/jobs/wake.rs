//! Who is to be woken when something about a job changed. Carries no news itself: the woken read the
//! table, so a wake-up that comes twice or late does no harm.

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
    /// Wakes at every change of the job from now on.
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

/// The workers, who wait for something to lease. Counts the wake-ups, so that one between a look at
/// the queue and the wait is not lost.
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

    /// Returns when the bell has rung since it counted `seen`, or after `timeout`.
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
