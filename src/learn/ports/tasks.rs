//! Tasks that workers share out: leased for a term, kept by heartbeats, fenced by a number.
//!
//! ```text
//!            lease (fence + 1)              complete, with the fence of the lease
//!  offered ──────────────────► leased ──────────────────────────────────────────► done
//!     ▲                          │
//!     └── given back, or the term ran out without a heartbeat ──┘
//! ```
//!
//! A worker that was silent for longer than its term may still be at work: its task is handed to another,
//! and what it says later carries an old fence and is refused. Implementations are in `crate::pool`, proven
//! by one suite.

use std::time::Duration;

/// A worker's hold on a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub group: String,
    pub key: String,
    /// One more with every lease of the task.
    pub fence: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("task {key} was handed to another worker meanwhile")]
    Fenced { key: String },
    /// The queue itself failed.
    #[error("the task queue failed: {0}")]
    Queue(#[source] Box<dyn std::error::Error + Send + Sync>),
}

pub type Result<T> = std::result::Result<T, TaskError>;

/// The tasks of one run, in groups that are leased and counted apart. A run has one foreman, who offers
/// the tasks of a group and waits for them.
pub trait TaskQueue: Send + Sync {
    /// Offers tasks by their keys, in this order. Offered again, a task that is done stays done, and one
    /// that a former foreman's worker holds is taken back.
    fn offer(&self, group: &str, keys: &[String]) -> Result<()>;

    /// The first task of the group that nobody holds, for `term`.
    fn lease(&self, group: &str, owner: &str, term: Duration) -> Result<Option<Lease>>;

    /// Holds the task for `term` from now.
    fn heartbeat(&self, lease: &Lease, term: Duration) -> Result<()>;

    fn complete(&self, lease: &Lease) -> Result<()>;

    /// Offers the task again at once.
    fn give_back(&self, lease: &Lease) -> Result<()>;

    /// How many tasks of the group are not done.
    fn open(&self, group: &str) -> Result<usize>;
}
