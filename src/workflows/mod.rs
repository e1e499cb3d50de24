//! What a job of each kind is. HTTP, MCP and the command line call the same workflow.
//!
//! ```text
//! ingest   documents become versions of an alias
//! adapt    one task's examples become an adapter and predictions
//! train    a policy practises writing self-edits
//! ```
//!
//! Each has the request as clients write it (`request`), what is checked before its job is stored (`admit`), and the
//! job itself (`run`). A [`Refusal`](refusal::Refusal) says why a request is not taken.

pub mod adapt;
pub mod fields;
pub mod ingest;
pub(crate) mod journal;
mod lengths;
pub mod refusal;
pub mod services;
pub mod train;
