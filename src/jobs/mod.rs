//! Durable background jobs: queue, runner, events, resume.
//!
//! ```text
//!  http ──► Jobs ──submit──► store ◄──lease── Runner ──► Handler (ingest, adapt, train)
//!            ▲ wait, subscribe                              │ JobContext: remember, recall,
//!            └───────────── wake, then read the table ◄─────┘   progress, event, check
//! ```
//!
//! The table is the truth; everything in memory only wakes somebody who then reads the table. So a
//! subscriber sees every event once and in order, whenever it joins, and a killed process forgets
//! nothing: at the next start its running jobs are queued again, and a handler that remembers its
//! finished steps ([`crate::learn::ports::journal::step`]) repeats none of them.
//!
//! Deliberately absent: HTTP; and, but for [`IngestHandler`], [`AdaptHandler`] and [`TrainHandler`], what
//! a job does.

mod context;
mod error;
mod facade;
mod prune;
mod runner;
mod subscription;
mod wake;

pub use context::{JobContext, JobFailure, Stop};
pub use error::{Error, Result};
pub use facade::Jobs;
pub use prune::prune_daily;
pub use runner::{Handler, Handlers, Runner};
pub use subscription::Subscription;

#[cfg(test)]
mod tests;
