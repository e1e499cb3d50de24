//! A task queue in the store. Its tasks belong to one job and are deleted with the job.

use crate::learn::ports::tasks::{Lease, Result, TaskError, TaskQueue};
use crate::store::{self, Store, Tasks};
use std::time::Duration;

/// The queue of one job.
pub struct StoredTasks {
    store: Store,
    job_id: String,
}

impl StoredTasks {
    pub fn new(store: Store, job_id: impl Into<String>) -> Self {
        StoredTasks {
            store,
            job_id: job_id.into(),
        }
    }

    fn tasks<'a>(&'a self, group: &'a str) -> Tasks<'a> {
        self.store.tasks(&self.job_id, group)
    }
}

impl From<store::Error> for TaskError {
    fn from(error: store::Error) -> Self {
        TaskError::Queue(Box::new(error))
    }
}

impl TaskQueue for StoredTasks {
    fn offer(&self, group: &str, keys: &[String]) -> Result<()> {
        Ok(self.tasks(group).offer(keys)?)
    }

    fn lease(&self, group: &str, owner: &str, term: Duration) -> Result<Option<Lease>> {
        let leased = self.tasks(group).lease(owner, term)?;
        Ok(leased.map(|(key, fence)| Lease {
            group: group.to_owned(),
            key,
            fence,
        }))
    }

    fn heartbeat(&self, lease: &Lease, term: Duration) -> Result<()> {
        let Lease { group, key, fence } = lease;
        held(lease, self.tasks(group).extend(key, *fence, term)?)
    }

    fn complete(&self, lease: &Lease) -> Result<()> {
        let Lease { group, key, fence } = lease;
        held(lease, self.tasks(group).release(key, *fence, true)?)
    }

    fn give_back(&self, lease: &Lease) -> Result<()> {
        let Lease { group, key, fence } = lease;
        held(lease, self.tasks(group).release(key, *fence, false)?)
    }

    fn open(&self, group: &str) -> Result<usize> {
        Ok(self.tasks(group).open()?)
    }
}

fn held(lease: &Lease, held: bool) -> Result<()> {
    match held {
        true => Ok(()),
        false => Err(TaskError::Fenced {
            key: lease.key.clone(),
        }),
    }
}
