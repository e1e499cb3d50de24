//! Errors of requests about jobs.

use crate::store::{self, JobState};
use std::time::Duration;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the queue is full: {queued} jobs are waiting, at most {limit} may")]
    QueueFull {
        queued: usize,
        limit: usize,
        /// Time until a place in the queue is likely to be free.
        retry_after: Duration,
    },
    #[error("idempotency key `{key}` was already used for another request")]
    KeyReused { key: String },
    #[error("there is no job `{id}`")]
    Unknown { id: String },
    #[error("job {id} is {state}: it cannot be {wish}")]
    Finished {
        id: String,
        state: JobState,
        /// `cancelled`, `paused` or `resumed`.
        wish: &'static str,
    },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("a background task was lost: {0}")]
    Task(#[from] tokio::task::JoinError),
}
