//! The options of learning, and the precedence of the settings they come from.
//!
//! ```text
//! precedence   request over configuration over the model's own over the built-in defaults
//! update       all options of an ingest
//! ├ self_edit  how self-edits are written, and by whom
//! ├ training   one LoRA training
//! ├ strategy   what keeps earlier documents, and what is trained on
//! └ gate       what an update must gain, and what it may lose
//! merge, error partial settings laid over one another, values that cannot be
//! ```

pub mod error;
pub mod gate;
pub mod merge;
pub mod precedence;
pub mod self_edit;
pub mod strategy;
pub mod training;
pub mod update;
