//! The lengths of texts, in bytes: what the plan of an adaptation reckons with.

use crate::learn::ports::model::{Prompt, TrainingText, Turn};

/// The length of a training text, with a small constant for the markup of the chat format.
pub(super) fn bytes(text: &TrainingText) -> usize {
    match text {
        TrainingText::Text { text } => text.len(),
        TrainingText::Chat { user, assistant } => user.len() + assistant.len() + 48,
        TrainingText::Completion { prompt, completion } => prompt_bytes(prompt) + completion.len(),
        TrainingText::Conversation { turns, .. } => {
            let turn = |t: &Turn| t.user.len() + t.assistant.len() + 10;
            32 + turns.iter().map(turn).sum::<usize>()
        }
    }
}

pub(super) fn prompt_bytes(prompt: &Prompt) -> usize {
    let shown = prompt
        .examples
        .iter()
        .map(|(user, said)| user.len() + said.len() + 10);
    32 + shown.sum::<usize>() + prompt.user.len()
}
