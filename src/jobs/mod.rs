//! Durable background jobs: queue, runner, events, resume.
//!
//! ```text
//!  workflows ──► Jobs ──submit──► store ◄──lease── Runner ──► Handler (ingest, adapt, train)
//!                 ▲ wait, subscribe                              │ JobContext: remember, recall,
//!                 └───────────── wake, then read the table ◄─────┘   progress, event, check
//! ```
//!
//! The table is the truth. State in memory only wakes readers, which then read the table. So a subscriber sees every
//! event once and in order, whenever it joins. A killed process loses nothing: at the next start its running jobs are
//! queued again, and a handler does not repeat the steps that it remembered
//! ([`crate::learn::ports::journal::step`]).
//!
//! Deliberately absent: HTTP, and the kinds of job. `workflows` implements a [`Handler`] for each kind.

mod context;
mod error;
mod facade;
mod prune;
mod runner;
mod subscription;
mod wake;

pub use context::{JobContext, JobFailure, Stop};
pub use error::{Error, Result};
pub use facade::{Accepted, Jobs};
pub use prune::prune_daily;
pub use runner::{Handler, Handlers, Runner};
pub use subscription::Subscription;

#[cfg(test)]
mod tests;
