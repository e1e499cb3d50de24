//! Learning passages (SEAL §3.1, "knowledge incorporation"): what is written about a passage, what is
//! trained on, and what is asked.

pub mod author;
#[cfg(test)]
mod author_tests;
pub mod closed_book;
pub mod datasets;
pub mod pairs;
pub mod phrases;
pub mod questions;
pub mod self_edit;
pub mod sentences;
pub mod sequences;

pub use crate::question::Question;

/// A passage to be learned.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Passage {
    pub title: String,
    pub text: String,
}

impl Passage {
    /// A document as somebody posted it: the lines of its paragraphs are joined.
    pub fn posted(title: &str, text: &str) -> Self {
        Passage {
            title: title.to_owned(),
            text: sentences::unwrapped(text),
        }
    }
}
