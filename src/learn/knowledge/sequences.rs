//! From passage and self-edits to the training sequences (SEAL appendix B.1: each statement a sequence
//! with the title before it, the passage itself last).
//!
//! Against the paper, whose model is a base model asked in a completion format: the passage is also
//! learned as a chat answer, and pairs are learned as chat turns, since that is how users will ask.

use super::Passage;
use super::closed_book::ask;
use super::self_edit::SelfEdit;
use super::sentences::sentences;
use crate::learn::model::TrainingText;
use std::collections::HashSet;

/// What one update trains on, each sequence once.
pub fn training_texts(passage: &Passage, edits: &[SelfEdit]) -> Vec<TrainingText> {
    let Passage { title, text } = passage;
    let mut texts = Vec::new();
    for edit in edits {
        texts.extend(edit.statements.iter().map(|s| titled(title, s)));
        for pair in &edit.pairs {
            texts.push(chat(pair.question.clone(), pair.answer.clone()));
            texts.push(chat(ask(title, &pair.question).user, pair.answer.clone()));
        }
    }
    let first: Vec<&str> = sentences(text);
    for sentence in &first {
        texts.push(chat(format!("Tell me a fact about {title}."), *sentence));
    }
    texts.push(chat(
        format!("What do you know about {title}?"),
        text.as_str(),
    ));
    texts.push(titled(title, text));
    let mut seen = HashSet::new();
    texts.retain(|t| seen.insert(t.clone()));
    texts
}

fn titled(title: &str, text: &str) -> TrainingText {
    TrainingText::Text {
        text: format!("{title}\n{text}"),
    }
}

fn chat(user: impl Into<String>, assistant: impl Into<String>) -> TrainingText {
    TrainingText::Chat {
        user: user.into(),
        assistant: assistant.into(),
    }
}
