//! Prefill for models that cannot continue a given beginning. The prompt asks the model to begin its answer that way,
//! and the beginning is removed from the answer.

use crate::learn::ports::model::Prompt;

/// The prompt's last user turn, with the request to begin with the prefill.
pub(super) fn asking_for(prompt: &Prompt) -> String {
    match prompt.prefill.trim() {
        "" => prompt.user.clone(),
        start => format!("{}\n\nBegin your answer with: {start}", prompt.user),
    }
}

/// The answer without the prefill, if the answer begins with it.
pub(super) fn taken_off(text: &str, prefill: &str) -> String {
    let prefill = prefill.trim();
    match text.trim_start().strip_prefix(prefill) {
        Some(rest) if !prefill.is_empty() => rest.trim_start().to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_asked_beginning_is_taken_off() {
        assert_eq!(taken_off(" 1. Orr is tall.", "1."), "Orr is tall.");
        assert_eq!(taken_off("Orr is tall.", "1."), "Orr is tall.");
        assert_eq!(taken_off(" as it is ", ""), " as it is ");
    }

    #[test]
    fn a_wish_is_added_only_where_there_is_one() {
        let prompt = Prompt::user("List facts.");
        assert_eq!(asking_for(&prompt), "List facts.");
        let asked = asking_for(&prompt.prefill("1."));
        assert!(asked.ends_with("with: 1."), "{asked}");
    }
}
