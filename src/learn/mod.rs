//! SEAL itself: a document becomes study notes, the notes an adapter, and the adapter is kept only if
//! probes prove that it learned and forgot nothing.
//!
//! ```text
//! update      one document, start to end: notes → probes → before → train → after → gate
//! ├ knowledge passages: self-edits, training sequences, probes, the closed-book test
//! ├ gate      accept, try again or refuse, with the reason
//! ├ replay    what of earlier documents is trained on again, and what of them is asked again
//! ├ distill   training towards what the model says with the document in sight
//! ├ general   what the base knew before it learned anything, asked again
//! ├ route     which document, and so which adapter, a question is about
//! ├ asking    whom an update asks what
//! ├ mind      what answers a question: one adapter, or the one the router chooses
//! ├ retention the forgetting matrix, and what it says in a figure or two
//! ├ compare   the paper's table: the same passages under several ways of learning
//! └ continual the paper's continual run: documents one after another, and what is left of each
//! model       what all of this asks of a model (generate, likelihood, train)
//! journal     what it asks of the job that runs it (remember a step, tell progress, stop)
//! ```
//!
//! Knows no HTTP, no SQL and no tensors.

pub mod asking;
pub mod compare;
pub mod continual;
pub mod continual_table;
#[cfg(test)]
mod continual_tests;
pub mod distill;
pub mod gate;
pub mod general;
pub mod grading;
pub mod heatmap;
pub mod journal;
pub mod knowledge;
pub mod mind;
pub mod model;
pub mod options;
pub mod replay;
pub mod report;
pub mod retention;
pub mod route;
pub mod stats;
pub mod strategy;
#[cfg(test)]
mod strategy_tests;
pub mod update;
#[cfg(test)]
mod update_tests;

pub use journal::{Journal, Stop};
pub use model::{Adapter, Model, ModelError};
pub use options::IngestOptions;
pub use report::Report;
