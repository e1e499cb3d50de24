//! Files of contexts: lists of `{title, context, questions}`, and SQuAD v1.1 as it is published.

use super::{Passage, Question};
use serde::Deserialize;
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

/// Why a file cannot be read as a data set.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    #[error("cannot read {path}: {source}")]
    Read {
        path: String,
        source: std::io::Error,
    },
    #[error("{path} is neither a list of {{title, context, questions}} nor SQuAD v1.1: {source}")]
    Shape {
        path: String,
        source: serde_json::Error,
    },
    #[error("{path} is no JSON list: {source}")]
    List {
        path: String,
        source: serde_json::Error,
    },
}

/// Reads a file of passages, in either form.
pub fn read(path: &Path) -> Result<Vec<Entry>, DatasetError> {
    parse(&text(path)?).map_err(|source| DatasetError::Shape {
        path: path.display().to_string(),
        source,
    })
}

/// Reads a JSON list of anything.
pub fn read_list(path: &Path) -> Result<Vec<Value>, DatasetError> {
    serde_json::from_str(&text(path)?).map_err(|source| DatasetError::List {
        path: path.display().to_string(),
        source,
    })
}

fn text(path: &Path) -> Result<String, DatasetError> {
    std::fs::read_to_string(path).map_err(|source| DatasetError::Read {
        path: path.display().to_string(),
        source,
    })
}

/// Parses either form: a list begins with a bracket, SQuAD with a brace.
pub fn parse(text: &str) -> Result<Vec<Entry>, serde_json::Error> {
    match text.trim_start().starts_with('[') {
        true => {
            let list: Vec<Listed> = serde_json::from_str(text)?;
            Ok(list.into_iter().map(Entry::from).collect())
        }
        false => Ok(serde_json::from_str::<Squad>(text)?.entries()),
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

#[derive(Deserialize)]
struct Listed {
    title: String,
    #[serde(alias = "text")]
    context: String,
    #[serde(default)]
    questions: Vec<ListedQuestion>,
    #[serde(default)]
    completions: Vec<String>,
}

/// Other fields (an id, further answers) are passed over.
#[derive(Deserialize)]
struct ListedQuestion {
    question: String,
    answer: String,
}

#[derive(Deserialize)]
struct Squad {
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    title: String,
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<SquadQuestion>,
}

#[derive(Deserialize)]
struct SquadQuestion {
    question: String,
    #[serde(default)]
    answers: Vec<Answered>,
}

#[derive(Deserialize)]
struct Answered {
    text: String,
}

impl From<Listed> for Entry {
    fn from(listed: Listed) -> Self {
        let questions = listed.questions.into_iter().map(|q| Question {
            question: q.question,
            answer: q.answer,
        });
        Entry {
            passage: Passage {
                title: listed.title,
                text: listed.context,
            },
            questions: questions.collect(),
            completions: listed.completions,
        }
    }
}

impl Squad {
    /// A passage a paragraph, its title with spaces for the underscores of an address; of several
    /// answers the first; a question without an answer (v2.0's impossible ones) is left out.
    fn entries(self) -> Vec<Entry> {
        let articles = self.data.into_iter();
        let paragraphs = articles.flat_map(|a| {
            let title = a.title.replace('_', " ");
            a.paragraphs.into_iter().map(move |p| (title.clone(), p))
        });
        let entry = |(title, paragraph): (String, Paragraph)| {
            let asked = paragraph.qas.into_iter().filter_map(|q| {
                Some(Question {
                    question: q.question.trim().to_owned(),
                    answer: q.answers.into_iter().next()?.text,
                })
            });
            Entry {
                questions: asked.collect(),
                passage: Passage {
                    title,
                    text: paragraph.context,
                },
                completions: Vec::new(),
            }
        };
        paragraphs.map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squad_is_read_as_published() {
        let text = r#"{"data": [{"title": "River_Senn", "paragraphs": [
            {"context": "It is long.", "qas": [
                {"id": "1", "question": "How is it? ", "answers": [
                    {"text": "long", "answer_start": 6}, {"text": "It is long", "answer_start": 0}]},
                {"id": "2", "question": "Why?", "answers": []}]},
            {"context": "It is cold.", "qas": []}]}], "version": "1.1"}"#;
        let entries = parse(text).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].passage.title, "River Senn");
        let expected = Question {
            question: "How is it?".into(),
            answer: "long".into(),
        };
        assert_eq!(entries[0].questions, [expected]);
        assert_eq!(entries[1].passage.text, "It is cold.");
    }

    #[test]
    fn a_list_is_read_and_what_is_neither_is_refused() {
        let list = r#" [{"title": "A", "context": "Text.", "questions":
            [{"question": "Q?", "answer": "A", "id": "7"}]}, {"title": "B", "text": "More."}]"#;
        let entries = parse(list).unwrap();
        assert_eq!(entries[0].questions[0].answer, "A");
        assert_eq!(entries[1].passage.text, "More.");
        assert!(parse(r#"{"passages": []}"#).is_err());
        assert!(parse("title,text").is_err());
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
