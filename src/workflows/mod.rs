//! What a job of each kind is. HTTP, MCP and the command line call the same workflow.
//!
//! ```text
//! ingest   documents become versions of an alias
//! adapt    one task's examples become an adapter and predictions
//! train    a policy practises writing self-edits
//! ```

pub mod adapt;
pub mod ingest;
pub(crate) mod journal;
pub mod train;
