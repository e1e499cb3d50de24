//! Files of contexts: lists of `{title, context, questions}`, and SQuAD as it is published and as Hugging Face has it,
//! in JSON or JSON Lines.

mod forms;

use super::{Passage, Question};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;

/// A passage with the questions it came with.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub passage: Passage,
    pub questions: Vec<Question>,
    /// Self-edits that came with it (a teacher's file).
    pub completions: Vec<String>,
}

/// What a file of passages holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    pub entries: Vec<Entry>,
    /// Questions left out, because their passage does not answer them (SQuAD v2.0).
    pub unanswerable: usize,
}

/// Why a file cannot be read as a data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: String,
        source: std::io::Error,
    },
    #[error(
        "{path}: {reason}. A data set is a list of {{title, context, questions}}, the rows of SQuAD that Hugging Face \
         has, or SQuAD v1.1 or v2.0 as it is published, in JSON or JSON Lines"
    )]
    Shape { path: String, reason: String },
    #[error("{path} is no list in JSON or JSON Lines: {source}")]
    List {
        path: String,
        source: serde_json::Error,
    },
}

/// Reads a file of passages, in any form.
pub fn read(path: &Path) -> Result<Dataset, DatasetError> {
    forms::parse(&text(path)?).map_err(|reason| DatasetError::Shape {
        path: path.display().to_string(),
        reason,
    })
}

/// Reads a list of anything.
pub fn read_list(path: &Path) -> Result<Vec<Value>, DatasetError> {
    let text = text(path)?;
    let list = match text.trim_start().starts_with('{') {
        true => serde_json::Deserializer::from_str(&text)
            .into_iter()
            .collect(),
        false => serde_json::from_str(&text),
    };
    list.map_err(|source| DatasetError::List {
        path: path.display().to_string(),
        source,
    })
}

/// The text of a file, without a byte order mark.
fn text(path: &Path) -> Result<String, DatasetError> {
    let text = std::fs::read_to_string(path).map_err(|source| DatasetError::Read {
        path: path.display().to_string(),
        source,
    })?;
    match text.strip_prefix('\u{feff}') {
        Some(rest) => Ok(rest.to_owned()),
        None => Ok(text),
    }
}

/// Names a list of passages with their questions: `sha256:` of their texts, each after its length, so
/// that a reader can tell whether he has the same.
pub fn digest<'a>(passages: impl Iterator<Item = (&'a Passage, &'a [Question])>) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    for (passage, questions) in passages {
        add(&passage.title);
        add(&passage.text);
        for q in questions {
            add(&q.question);
            add(&q.answer);
        }
    }
    let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_begin_with_a_byte_order_mark() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("list.jsonl");
        let line = r#"{"title": "A", "context": "Text."}"#;
        std::fs::write(&path, format!("\u{feff}{line}\n\n{line}\n")).unwrap();
        assert_eq!(read(&path).unwrap().entries.len(), 2);
        assert_eq!(read_list(&path).unwrap().len(), 2);
        std::fs::write(&path, format!("[{line}]")).unwrap();
        assert_eq!(read_list(&path).unwrap()[0]["title"], "A");
        std::fs::write(&path, "title,text").unwrap();
        assert!(read_list(&path).is_err());
        let wrong = read(&path).unwrap_err().to_string();
        assert!(wrong.contains("list.jsonl: "), "{wrong}");
    }

    #[test]
    fn a_digest_names_texts_and_where_they_end() {
        let of = |title: &str, text: &str| {
            let passage = Passage {
                title: title.into(),
                text: text.into(),
            };
            digest([(&passage, [].as_slice())].into_iter())
        };
        assert_eq!(of("a", "b"), of("a", "b"));
        assert_ne!(of("ab", "c"), of("a", "bc"));
        assert_eq!(of("a", "b").len(), 71);
    }
}
