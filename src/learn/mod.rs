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
//! ├ continual the paper's continual run: documents one after another, and what is left of each
//! outer       the outer loop (ReST-EM): a policy learns to write self-edits that teach better
//! ├ domain    what it asks of a kind of task; knowledge and fewshot implement it
//! └ datasets  files of contexts to practise on
//! fewshot     one task from a few examples: configurations, augmentations, predictions
//! model       what all of this asks of a model (generate, likelihood, train)
//! text_model  what it asks of a teacher or a judge (text in, text out)
//! grading     is an answer right? by its words, or by what the judge says (judge)
//! journal     what it asks of the job that runs it (remember a step, tell progress, stop)
//! ```
//!
//! Knows no HTTP, no SQL and no tensors.

pub mod asking;
pub mod company;
pub mod compare;
pub mod continual;
pub mod continual_table;
#[cfg(test)]
mod continual_tests;
pub mod cpt;
pub mod datasets;
pub mod distill;
pub mod domain;
pub mod fewshot;
pub mod gate;
pub mod general;
pub mod grading;
pub mod heatmap;
#[cfg(test)]
mod helper_tests;
pub mod journal;
pub mod judge;
pub mod knowledge;
pub mod layers;
pub mod mind;
pub mod model;
pub mod options;
pub mod outer;
pub mod reliability;
pub mod replay;
pub mod report;
pub mod retention;
pub mod route;
pub mod stats;
pub mod strategy;
#[cfg(test)]
mod strategy_tests;
pub mod text_model;
pub mod update;
#[cfg(test)]
mod update_tests;

pub use journal::{Journal, Stop};
pub use model::{Adapter, Model, ModelError};
pub use options::IngestOptions;
pub use report::Report;
pub use text_model::{Helpers, TextModel};
