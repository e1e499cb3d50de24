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
//! ├ answerer  what answers a question: one adapter, or the one the router chooses
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

pub mod fan_out;
pub mod fewshot;
pub mod figures;
pub mod grading;
pub mod inner;
pub mod knowledge;
pub mod options;
pub mod outer;
pub mod ports;
#[cfg(test)]
pub(crate) mod scripted;
pub mod stats;

pub use inner::report::Report;
pub use options::update::IngestOptions;
pub use ports::journal::{Interrupted, Journal};
pub use ports::model::{Adapter, Model, ModelError};
pub use ports::text_model::{Helpers, TextModel};
