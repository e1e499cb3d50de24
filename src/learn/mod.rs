//! SEAL itself (arXiv 2506.10943): a document becomes study notes, the notes train an adapter, and the adapter
//! is kept only if probes prove that the model learned and forgot nothing.
//!
//! ```text
//! outer       ReST-EM: a policy learns to write self-edits that teach better
//! inner       one document becomes one update: notes → probes → before → train → after → gate
//! fewshot     one task from a few examples: configurations, augmentations, predictions
//! knowledge   passages: self-edits, training sequences, probes, the closed-book test
//! options     the settings of all of that, and their precedence
//! grading     is an answer right? by its words, or by the verdict of a judge
//! ports       the traits that learning asks of the world: model, text model, journal, tasks
//! ```
//!
//! An import points down this list, never up; `inner` and `fewshot` do not know each other, and `outer` does
//! not know `inner`. `stats`, `figures` and `fan_out` import nothing. The paper's
//! tables are in [`crate::study`].
//!
//! Learning knows no HTTP and no SQL, and of tensors only that an adapter is one.

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
