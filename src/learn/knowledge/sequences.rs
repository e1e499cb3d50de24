//! From passage and self-edits to the training sequences (SEAL appendix B.1: each statement a sequence
//! with the title before it, the passage itself last).
//!
//! Against the paper, whose model is a base model asked in a completion format: pairs are learned as chat
//! turns, since that is how users will ask. The passage is not: a model that learned it as an answer
//! recites it whatever is asked.

use super::Passage;
use super::self_edit::SelfEdit;
use crate::learn::ports::model::TrainingText;
use crate::text::sentences::sentences;
use crate::text::words::borders;
use std::collections::HashSet;

/// Tells the number of tokens of a text, for the model that is trained.
pub type CountTokens<'a> = dyn Fn(&str) -> usize + 'a;

/// The training sequences of one update, each once: statements and pairs of the edits, the pairs' other
/// forms, then the passage.
pub fn training_texts(
    passage: &Passage,
    edits: &[SelfEdit],
    tokens: &CountTokens<'_>,
) -> Vec<TrainingText> {
    let Passage { title, text } = passage;
    let mut texts = Vec::new();
    for edit in edits {
        texts.extend(edit.statements.iter().map(|s| titled(title, s)));
        for pair in edit.pairs.iter().chain(&edit.forms) {
            texts.push(chat(pair.question.clone(), pair.answer.clone()));
        }
    }
    texts.extend(
        pieces(text, tokens)
            .into_iter()
            .map(|piece| titled(title, piece)),
    );
    let mut seen = HashSet::new();
    texts.retain(|t| seen.insert(t.clone()));
    texts
}

/// The questions among the training sequences, each once.
pub fn questions(texts: &[TrainingText]) -> Vec<&str> {
    let mut seen = HashSet::new();
    let asked = texts.iter().filter_map(|text| match text {
        TrainingText::Chat { user, .. } => Some(user.as_str()),
        _ => None,
    });
    asked.filter(|question| seen.insert(*question)).collect()
}

/// Whether at least a fifth of the questions are answered in a second wording too.
pub fn in_two_wordings(texts: &[TrainingText]) -> bool {
    let chats = texts.iter();
    let chats = chats.filter(|text| matches!(text, TrainingText::Chat { .. }));
    let asked = questions(texts).len();
    let again = chats.count() - asked;
    again > 0 && 5 * again >= asked
}

/// Most tokens of the passage in one training sequence: a training step holds the activations of whole sequences in
/// memory.
const PIECE_TOKENS: usize = 384;

/// The text in pieces of at most [`PIECE_TOKENS`], cut between sentences; a longer sentence is cut between words, and a
/// longer word (an encoded file, an address) between letters.
fn pieces<'a>(text: &'a str, tokens: &CountTokens<'_>) -> Vec<&'a str> {
    if tokens(text) <= PIECE_TOKENS {
        return vec![text];
    }
    let start = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
    let mut pieces: Vec<&str> = Vec::new();
    // Sums bound the tokens of what they are the sum of, but for the odd token at a seam.
    let mut held = 0;
    for sentence in sentences(text) {
        for part in fitting(sentence, tokens) {
            let size = tokens(part);
            match pieces.last_mut() {
                Some(last) if held + size < PIECE_TOKENS => {
                    *last = &text[start(last)..start(part) + part.len()];
                    held += size + 1;
                }
                _ => {
                    pieces.push(part);
                    held = size;
                }
            }
        }
    }
    pieces
}

/// The sentence, halved between words until each part fits; a word, between letters.
fn fitting<'a>(sentence: &'a str, tokens: &CountTokens<'_>) -> Vec<&'a str> {
    if tokens(sentence) <= PIECE_TOKENS {
        return vec![sentence];
    }
    let middle = sentence.len() / 2;
    let inner = borders(sentence)
        .into_iter()
        .filter(|at| *at > 0 && *at < sentence.len());
    let nearest = inner.min_by_key(|at| at.abs_diff(middle));
    let letters = sentence.char_indices().map(|(at, _)| at).skip(1);
    let Some(cut) = nearest.or_else(|| letters.min_by_key(|at| at.abs_diff(middle))) else {
        return vec![sentence];
    };
    let (first, rest) = sentence.split_at(cut);
    let mut parts = fitting(first.trim(), tokens);
    parts.extend(fitting(rest.trim(), tokens));
    parts.retain(|part| !part.is_empty());
    parts
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

#[cfg(test)]
mod tests {
    use super::*;

    use crate::text::words::count;

    #[test]
    fn a_fifth_of_the_questions_in_two_wordings_is_enough() {
        let asked = |n: usize, answer: &str| chat(format!("Question {n}?"), answer);
        let mut texts: Vec<TrainingText> = (0..5).map(|n| asked(n, "A sentence.")).collect();
        assert!(!in_two_wordings(&texts));
        texts.push(asked(3, "A word."));
        assert!(in_two_wordings(&texts));
        assert_eq!(questions(&texts).len(), 5);
        texts.push(asked(5, "A sentence."));
        assert!(!in_two_wordings(&texts) && !in_two_wordings(&[titled("Vell", "A tower.")]));
    }

    #[test]
    fn long_passages_are_cut_between_sentences_and_lose_nothing() {
        let sentence = |i: usize| format!("Sentence {i} has exactly seven words.");
        let text: Vec<String> = (0..100).map(sentence).collect();
        let text = text.join(" ");
        let pieces = pieces(&text, &count);
        assert!(pieces.len() > 1);
        assert!(
            pieces
                .iter()
                .all(|p| count(p) <= PIECE_TOKENS && p.ends_with("words."))
        );
        assert_eq!(pieces.join(" "), text);
    }

    #[test]
    fn a_text_without_spaces_is_cut_by_its_tokens() {
        let text = "谭欣奥雷尔住在河边的小镇里".repeat(100);
        let two_a_letter = |text: &str| 2 * text.chars().count();
        let pieces = pieces(&text, &two_a_letter);
        assert!(pieces.len() > 5);
        assert!(pieces.iter().all(|p| two_a_letter(p) <= PIECE_TOKENS));
        assert_eq!(pieces.concat(), text);
    }

    #[test]
    fn a_word_without_end_is_cut_too() {
        let text = "ü".repeat(5000);
        let a_letter = |text: &str| text.chars().count();
        let pieces = pieces(&text, &a_letter);
        assert!(pieces.iter().all(|p| a_letter(p) <= PIECE_TOKENS));
        assert_eq!(pieces.concat(), text);
    }
}
