//! The options of learning, and the precedence of the settings they come from.
//!
//! ```text
//! precedence   request over configuration over the model's own over the built-in defaults
//! update       all options of an ingest
//! ├ self_edit  the writing of self-edits, and the writer
//! ├ training   one LoRA training
//! ├ strategy   the protection of earlier documents, and the inner loop's method
//! └ gate       the gain that an update must reach, and the loss that it may cause
//! merge        partial settings that override one another
//! error        values outside their range
//! ```

pub mod error;
pub mod gate;
pub mod merge;
pub mod precedence;
pub mod self_edit;
pub mod strategy;
pub mod training;
pub mod update;
