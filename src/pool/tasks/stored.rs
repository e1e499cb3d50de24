//! Tasks in the store: a group is a job, and its tasks go with it.

use super::{Lease, Result, TaskError, TaskQueue};
use crate::store::Store;
use std::time::Duration;

pub struct StoredTasks {
    store: Store,
}

impl StoredTasks {
    pub fn new(store: Store) -> Self {
        StoredTasks { store }
    }
}

impl TaskQueue for StoredTasks {
    fn offer(&self, group: &str, keys: &[String]) -> Result<()> {
        Ok(self.store.tasks().offer(group, keys)?)
    }

    fn lease(&self, group: &str, owner: &str, term: Duration) -> Result<Option<Lease>> {
        let leased = self.store.tasks().lease(group, owner, term)?;
        Ok(leased.map(|(key, fence)| Lease {
            group: group.to_owned(),
            key,
            fence,
        }))
    }

    fn heartbeat(&self, lease: &Lease, term: Duration) -> Result<()> {
        let Lease { group, key, fence } = lease;
        held(lease, self.store.tasks().extend(group, key, *fence, term)?)
    }

    fn complete(&self, lease: &Lease) -> Result<()> {
        let Lease { group, key, fence } = lease;
        held(lease, self.store.tasks().release(group, key, *fence, true)?)
    }

    fn give_back(&self, lease: &Lease) -> Result<()> {
        let Lease { group, key, fence } = lease;
        held(
            lease,
            self.store.tasks().release(group, key, *fence, false)?,
        )
    }

    fn open(&self, group: &str) -> Result<usize> {
        Ok(self.store.tasks().open(group)?)
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
