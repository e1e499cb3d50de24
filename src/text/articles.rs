//! English articles, which bear no meaning in an answer. In other languages `a` and `an` are words like any other.

use super::language::Language;
use super::script::{Script, main_script};

/// Common words of other languages in Latin letters. English has them in names and set phrases alone.
const FOREIGN: [&str; 43] = [
    "der", "das", "und", "ist", "nicht", "eine", "von", "wurde", "le", "la", "les", "une", "et",
    "est", "il", "elle", "dans", "du", "el", "los", "las", "una", "y", "es", "por", "que", "gli",
    "di", "che", "os", "um", "uma", "em", "het", "een", "og", "och", "az", "egy", "nem", "jest",
    "nie", "det",
];

/// How much a text speaks for English, by its common words; `None` if it is not in Latin letters.
pub fn evidence(text: &str) -> Option<i32> {
    if !matches!(main_script(text), Some(Script::Latin) | None) {
        return None;
    }
    let mut score = 0;
    for word in text.split(|c: char| !c.is_alphabetic()) {
        let word = word.to_lowercase();
        if FOREIGN.contains(&word.as_str()) {
            score -= 1;
        } else if word.len() > 1 && Language::ENGLISH.is_function_word(&word) && word != "an" {
            score += 1;
        }
    }
    Some(score)
}

/// Whether articles can be dropped from texts with this evidence, which belong together: no word says that they are not
/// English.
pub fn are_english(evidence: [Option<i32>; 2]) -> bool {
    matches!(evidence, [Some(one), Some(other)] if one + other >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_english(texts: &[&str; 2]) -> bool {
        super::are_english(texts.map(evidence))
    }

    #[test]
    fn english_and_not() {
        assert!(are_english(&["the mayor", "a baker"]));
        assert!(are_english(&["a tower", "tower"]));
        assert!(are_english(&["a van", "van"]));
        assert!(are_english(&["a crown per tonne", "ten o'clock"]));
        assert!(are_english(&[
            "He sailed to El Paso in the night",
            "the El Paso"
        ]));
        assert!(!are_english(&["il a dit", "oui"]));
        assert!(!are_english(&["an der Brücke", ""]));
        assert!(!are_english(&["тур a", ""]));
    }
}
