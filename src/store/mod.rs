//! All durable state: one data directory with a SQLite database and content-addressed blobs.
//!
//! ```text
//! DATA/lock              held exclusively while a process uses the directory
//! DATA/autodidact.db     documents, probes, scores, jobs, steps, tasks, events, aliases, …
//! DATA/blobs/sha256/ab/… adapter files, named by their digest
//! ```
//!
//! One transaction writes all rows that must survive `kill -9` together: a job with its documents and its idempotency
//! key, a version with the move of its alias, a state with its event. Blobs are written and synced *before* the row
//! that names them. So a crash can leave bytes without a name (swept at the next start), but never a name without
//! bytes.
//!
//! The store is plain blocking code. It has two connections: one writes, one reads. With WAL a reader does not wait
//! for a writer that waits for the disk. Each table has its own file and its own view: `store.documents().get(id)`,
//! `store.jobs().lease_next(owner)`.

mod aliases;
mod blobs;
mod documents;
mod error;
mod events;
mod idempotency;
mod identity;
mod jobs;
mod known;
mod probes;
mod queue;
mod record;
mod replacements;
mod schema;
mod sql;
mod tasks;
mod unlearn;

pub use aliases::{Alias, Aliases, Expected, NewVersion, Version};
pub use blobs::{BlobGuard, Blobs, digest};
pub use documents::{
    Document, DocumentFilter, DocumentState, DocumentSummary, Documents, GateVerdict, NewDocument,
    Scores,
};
pub use error::{Error, Result};
pub use events::{Event, Events};
pub use idempotency::IdempotencyKey;
pub use identity::document_digest;
pub use jobs::{
    Job, JobError, JobFilter, JobKind, JobState, Jobs, NewJob, Posted, Progress, Submission,
};
pub use probes::{DocumentScore, GeneralScore, NewProbe, Probe, ProbeOrigin, ProbeScore, Probes};
pub use queue::{Outcome, Transition};
pub use record::{Record, without_format};
pub use replacements::Replaced;
pub use tasks::Tasks;
pub use unlearn::Removal;

use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde::Serialize;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The open data directory. Clones share it; dropping the last clone releases the lock.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    blobs: Blobs,
    /// The last field, so that the lock is released after the connections are closed.
    _lock: File,
}

/// A page of a list; `next` is the cursor (`after=`) of the next page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

impl Store {
    /// Opens or creates the data directory, migrates its tables and sweeps the leftovers of a crash. Fails while
    /// another process holds the directory.
    pub fn open(data_dir: &Path) -> Result<Store> {
        fs::create_dir_all(data_dir).map_err(|source| Error::OpenDirectory {
            path: data_dir.into(),
            source,
        })?;
        let lock = lock(data_dir)?;
        let path = data_dir.join("autodidact.db");
        let mut writer = schema::connect(&path)?;
        schema::migrate(&mut writer)?;
        let store = Store {
            inner: Arc::new(Inner {
                writer: Mutex::new(writer),
                reader: Mutex::new(schema::connect(&path)?),
                blobs: Blobs::open(&data_dir.join("blobs"))?,
                _lock: lock,
            }),
        };
        store.sweep_blobs()?;
        Ok(store)
    }

    pub fn documents(&self) -> Documents<'_> {
        Documents(self)
    }

    pub fn probes(&self) -> Probes<'_> {
        Probes(self)
    }

    pub fn jobs(&self) -> Jobs<'_> {
        Jobs(self)
    }

    pub fn events(&self) -> Events<'_> {
        Events(self)
    }

    pub fn tasks<'a>(&'a self, job_id: &'a str, part: &'a str) -> Tasks<'a> {
        Tasks {
            store: self,
            job_id,
            part,
        }
    }

    pub fn aliases(&self) -> Aliases<'_> {
        Aliases(self)
    }

    pub fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    /// Deletes every blob that no version and no unfinished job names. Returns the number of deleted files.
    pub fn sweep_blobs(&self) -> Result<usize> {
        self.inner.blobs.sweep(|digest| {
            self.read("look for users of a blob", |c| {
                aliases::blob_is_used(c, digest)
            })
        })
    }

    /// Runs `f` on the reading connection.
    fn read<T>(
        &self,
        what: &'static str,
        f: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        f(&guard(&self.inner.reader)).map_err(|source| Error::Read { what, source })
    }

    /// Runs `f` in one immediate transaction, durable on return of `Ok`.
    fn write<T>(
        &self,
        what: &'static str,
        f: impl FnOnce(&Transaction) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut connection = guard(&self.inner.writer);
        let run = || {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = f(&tx)?;
            tx.commit()?;
            Ok(value)
        };
        run().map_err(|source| Error::Write { what, source })
    }
}

impl<T> Page<T> {
    /// Makes a page from at most `limit + 1` rows. An extra row only shows that there are more.
    fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(cursor);
        Page { items, next }
    }
}

/// A new id that sorts by its time of creation: `job_0197…`.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", uuid::Uuid::now_v7().simple())
}

/// The present time in the store's format.
pub fn now() -> String {
    time(Utc::now())
}

/// The time `seconds` from now in the store's format.
pub fn in_seconds(seconds: u64) -> String {
    time(Utc::now() + Duration::from_secs(seconds))
}

/// Formats a time by RFC 3339 in UTC with milliseconds. The fixed width lets text sort as time.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Locks the connection, even after a panic: the panic rolled its transaction back, so the connection is sound.
fn guard(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Time to wait for the lock. A killed process, or a child that is just starting, may hold it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_millis(400);

fn lock(data_dir: &Path) -> Result<File> {
    let open = || {
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(data_dir.join("lock"))
    };
    let path = || data_dir.to_path_buf();
    let file = open().map_err(|source| Error::Lock {
        path: path(),
        source,
    })?;
    let patience = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < patience => {
                std::thread::sleep(LOCK_PATIENCE / 20);
            }
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { path: path() }),
            Err(TryLockError::Error(source)) => {
                return Err(Error::Lock {
                    path: path(),
                    source,
                });
            }
        }
    }
}

#[cfg(test)]
mod alias_tests;
#[cfg(test)]
pub(crate) mod tests;
