//! From passage and self-edits to the training sequences (SEAL appendix B.1: each statement a sequence
//! with the title before it, the passage itself last).
//!
//! Against the paper, whose model is a base model asked in a completion format: pairs are learned as chat
//! turns, since that is how users will ask. The passage is not: a model that learned it as an answer
//! recites it whatever is asked.

use super::Passage;
use super::self_edit::SelfEdit;
use super::sentences::sentences;
use crate::learn::ports::model::TrainingText;
use std::collections::HashSet;

/// The training sequences of one update, each once: statements and pairs of the edits, then the passage.
pub fn training_texts(passage: &Passage, edits: &[SelfEdit]) -> Vec<TrainingText> {
    let Passage { title, text } = passage;
    let mut texts = Vec::new();
    for edit in edits {
        texts.extend(edit.statements.iter().map(|s| titled(title, s)));
        for pair in &edit.pairs {
            texts.push(chat(pair.question.clone(), pair.answer.clone()));
        }
    }
    texts.extend(pieces(text).iter().map(|piece| titled(title, piece)));
    let mut seen = HashSet::new();
    texts.retain(|t| seen.insert(t.clone()));
    texts
}

/// The text, cut at sentence borders where it is longer than [`PIECE_WORDS`]: a training step holds the
/// activations of whole sequences in memory.
fn pieces(text: &str) -> Vec<String> {
    let count = |text: &str| text.split_whitespace().count();
    if count(text) <= PIECE_WORDS {
        return vec![text.to_owned()];
    }
    let mut pieces: Vec<String> = Vec::new();
    for sentence in sentences(text) {
        match pieces.last_mut() {
            Some(last) if count(last) + count(sentence) <= PIECE_WORDS => {
                last.push(' ');
                last.push_str(sentence);
            }
            _ => pieces.push(sentence.to_owned()),
        }
    }
    pieces
}

/// Words of the passage in one training sequence, about 350 tokens.
const PIECE_WORDS: usize = 250;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_passages_are_cut_between_sentences_and_lose_nothing() {
        let sentence = |i: usize| format!("Sentence {i} has exactly seven words.");
        let text: Vec<String> = (0..100).map(sentence).collect();
        let text = text.join(" ");
        let pieces = pieces(&text);
        assert!(pieces.len() > 1);
        assert!(
            pieces
                .iter()
                .all(|p| p.split_whitespace().count() <= PIECE_WORDS)
        );
        assert!(pieces.iter().all(|p| p.ends_with("words.")));
        assert_eq!(pieces.join(" "), text);
    }
}
