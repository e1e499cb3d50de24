//! Learning passages (SEAL §3.2, "knowledge incorporation"): the self-edits written about a passage, the training
//! sequences made of them, and the questions asked.

pub mod author;
#[cfg(test)]
mod author_tests;
pub mod closed_book;
pub mod datasets;
mod examples;
mod forms;
mod own_words;
pub mod pairs;
pub mod phrases;
pub mod questions;
pub mod self_edit;
pub mod sequences;
pub mod wrapped;

pub use crate::question::Question;

/// A passage to be learned.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Passage {
    pub title: String,
    pub text: String,
}

impl Passage {
    /// A passage from a posted document, with the lines of each paragraph joined.
    pub fn posted(title: &str, text: &str) -> Self {
        Passage {
            title: title.to_owned(),
            text: wrapped::unwrapped(text),
        }
    }
}
