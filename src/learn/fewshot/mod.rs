//! Adapting to one task from a few examples (SEAL §3.2, "few-shot learning"): the model chooses how to train
//! itself on the demonstrations, trains an adapter, and the adapter answers.
//!
//! ```text
//! adapt       the loop, within a budget: configurations → pace → candidates → final → predictions
//! ├ self_edit what the model writes: which augmentations, which training
//! ├ task      a task as turns of a conversation: what is trained on, what is asked
//! │ ├ grid, serialise, augment     ARC's grids: checked, as text, transformed and back
//! │ └ text    input → output strings
//! ├ plan      what of all that fits the time
//! ├ predict   the same question asked in several ways, and the vote
//! └ practice  tasks whose answers are known: what a configuration is worth
//! ```
//!
//! But for practice, the answer to a test input is nowhere here: candidates are compared on the
//! demonstrations alone.

pub mod adapt;
pub mod augment;
pub mod grid;
pub mod options;
pub mod plan;
pub mod practice;
pub mod predict;
pub mod report;
pub mod self_edit;
pub mod serialise;
pub mod task;
pub mod text;

pub use adapt::{AdaptOutcome, Adaptation, adapt};
pub use grid::Grid;
pub use options::AdaptOptions;
pub use report::AdaptReport;
pub use self_edit::SelfEdit;
pub use task::{FewShot, Pair, Task};
