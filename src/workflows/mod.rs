//! The workflows: one for each kind of job. HTTP, MCP and the command line call the same ones.
//!
//! ```text
//! ingest   documents become versions of an alias
//! adapt    one task's examples become an adapter and predictions
//! train    a policy practises writing self-edits
//! unlearn  an alias loses a document
//! ```
//!
//! Each has the request body (`request`), the checks before the job is stored (`admit`), and the job itself (`run`). A
//! [`Refusal`](refusal::Refusal) is the reason why a request was not admitted.

pub mod adapt;
pub mod fields;
pub mod ingest;
pub(crate) mod journal;
pub mod lengths;
pub mod refusal;
pub mod services;
pub mod train;
pub mod unlearn;
