//! The script a text is written in.

use super::characters::{is_wordy, script};
pub use icu_properties::props::Script;

/// The script of most letters; `None` where there are none. Han and kana count as one: Japanese.
pub fn main_script(text: &str) -> Option<Script> {
    // In the order of appearance: among equals the first wins.
    let mut counts: Vec<(Script, usize)> = Vec::new();
    let mut kana = false;
    for c in text.chars().filter(|c| is_wordy(*c)) {
        let found = match script(c) {
            Script::Common | Script::Inherited => continue,
            Script::Hiragana | Script::Katakana => {
                kana = true;
                Script::Han
            }
            found => found,
        };
        match counts.iter_mut().find(|(script, _)| *script == found) {
            Some((_, n)) => *n += 1,
            None => counts.push((found, 1)),
        }
    }
    let most = counts.into_iter().rev().max_by_key(|(_, n)| *n)?.0;
    Some(if most == Script::Han && kana {
        Script::Hiragana
    } else {
        most
    })
}

/// Whether `text` is written as `model` is. A text without letters is written in every script; Japanese may come
/// without kana.
pub fn is_like(text: &str, model: &str) -> bool {
    match (main_script(text), main_script(model)) {
        (Some(Script::Han), Some(Script::Hiragana)) => true,
        (Some(a), Some(b)) => a == b,
        _ => true,
    }
}

/// Whether `text` can be a question: a question mark of any script ends it, or the script needs none.
pub fn is_question(text: &str) -> bool {
    text.trim_end()
        .ends_with(['?', '？', '؟', '՞', '\u{37e}', '⸮'])
        || asks_without_mark(text)
}

fn asks_without_mark(text: &str) -> bool {
    const WITHOUT: [Script; 5] = [
        Script::Hiragana,
        Script::Khmer,
        Script::Lao,
        Script::Myanmar,
        Script::Thai,
    ];
    main_script(text).is_some_and(|s| WITHOUT.contains(&s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_of_most_letters() {
        assert_eq!(main_script("Die Straße, 1911"), Some(Script::Latin));
        assert_eq!(main_script("Кто мэр города Orr?"), Some(Script::Cyrillic));
        assert_eq!(main_script("町長は誰ですか"), Some(Script::Hiragana));
        assert_eq!(main_script("镇长是谁"), Some(Script::Han));
        assert_eq!(main_script("1911 – 5 %"), None);
    }

    #[test]
    fn like_and_unlike() {
        assert!(is_like("镇长是谁?", "该镇建于1387年。"));
        assert!(!is_like("Who is the mayor?", "该镇建于1387年。"));
        assert!(is_like("1387", "该镇建于1387年。"));
        assert!(is_like("東京", "町長は誰ですか"));
        assert!(!is_like("町長は誰ですか", "镇长是谁"));
    }
}
