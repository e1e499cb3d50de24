//! Durable background jobs: queue, runner, events, resume.
//!
//! ```text
//!  http ──► Jobs ──submit──► store ◄──lease── Runner ──► Handler (ingest …)
//!            ▲ wait, subscribe                              │ JobContext: step, progress,
//!            └───────────── wake, then read the table ◄─────┘             event, check
//! ```
//!
//! The table is the truth; everything in memory only wakes somebody who then reads the table. So a
//! subscriber sees every event once and in order, whenever it joins, and a killed process forgets
//! nothing: at the next start its running jobs are queued again, and a handler that puts its work
//! into [`JobContext::step`]s repeats none that finished.
//!
//! Deliberately absent: HTTP; and, but for [`IngestHandler`], what a job does.

mod context;
mod error;
mod facade;
mod ingest;
mod runner;
mod subscription;
mod tale;
mod wake;

pub use context::{JobContext, JobFailure, Stop};
pub use error::{Error, Result};
pub use facade::Jobs;
pub use ingest::IngestHandler;
pub use runner::{Handler, Handlers, Runner};
pub use subscription::Subscription;

#[cfg(test)]
mod ingest_tests;
#[cfg(test)]
mod tests;
