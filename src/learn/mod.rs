//! SEAL itself: a document becomes study notes, the notes an adapter, and the adapter is kept only if
//! probes prove that it learned and forgot nothing.
//!
//! ```text
//! update      one document, start to end: notes → probes → before → train → after → gate
//! ├ knowledge passages: self-edits, training sequences, probes, the closed-book test
//! ├ gate      accept, try again or refuse, with the reason
//! ├ replay    what of earlier documents is trained on again, and what of them is asked again
//! ├ compare   the paper's table: the same passages under several ways of learning
//! outer       the outer loop (ReST-EM): a policy learns to write self-edits that teach better
//! ├ domain    what it asks of a kind of task; knowledge implements it
//! └ datasets  files of contexts to practise on
//! model       what all of this asks of a model (generate, likelihood, train)
//! text_model  what it asks of a teacher or a judge (text in, text out)
//! grading     is an answer right? by its words, or by what the judge says (judge)
//! journal     what it asks of the job that runs it (remember a step, tell progress, stop)
//! ```
//!
//! Knows no HTTP, no SQL and no tensors.

pub mod company;
pub mod compare;
pub mod cpt;
pub mod datasets;
pub mod domain;
pub mod gate;
pub mod grading;
#[cfg(test)]
mod helper_tests;
pub mod journal;
pub mod judge;
pub mod knowledge;
pub mod model;
pub mod options;
pub mod outer;
pub mod reliability;
pub mod replay;
pub mod report;
pub mod stats;
pub mod text_model;
pub mod update;
#[cfg(test)]
mod update_tests;

pub use journal::{Journal, Stop};
pub use model::{Adapter, Model, ModelError};
pub use options::IngestOptions;
pub use report::Report;
pub use text_model::{Helpers, TextModel};
