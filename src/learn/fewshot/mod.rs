//! Adapting to one task from a few examples (SEAL §3.2, "few-shot learning"): the model chooses how to train
//! itself on the demonstrations, trains an adapter, and the adapter answers.
//!
//! ```text
//! adapt       the loop, within a budget: configurations → pace → candidates → final → predictions
//! ├ self_edit the configuration that the model writes: augmentations and training
//! ├ task      a task as a conversation: its training sequences and its questions
//! │ ├ sequences                    the training sequences of a grid task
//! │ ├ grid, serialise, augment     ARC's grids: checked, as text, transformed and back
//! │ └ text    input → output strings
//! ├ pacing    the stages that time a few training steps and plan
//! ├ plan      the part of the work that fits the time
//! ├ budget    the time itself, at which a stage ends inside its work
//! ├ predict   the same question asked in several ways, and the vote
//! └ practice  tasks with known answers, which give a configuration its reward
//! ```
//!
//! Only practice knows the answers to test inputs. An adaptation compares its candidates on the demonstrations alone.

pub mod adapt;
pub mod augment;
mod budget;
#[cfg(test)]
mod budget_tests;
pub mod grid;
pub mod options;
mod pacing;
pub mod plan;
pub mod practice;
pub mod predict;
pub mod report;
pub mod self_edit;
mod sequences;
pub mod serialise;
mod sizes;
pub mod task;
pub mod text;

pub use adapt::{AdaptOutcome, Adaptation, adapt};
pub use grid::Grid;
pub use options::AdaptOptions;
pub use report::AdaptReport;
pub use self_edit::SelfEdit;
pub use task::{FewShot, Pair, Task};
