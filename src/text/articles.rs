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

/// Whether articles can be dropped from these texts, which belong together: they are in Latin letters, and no word
/// says that they are not English.
pub fn are_english(texts: &[&str]) -> bool {
    let latin = |text: &&str| matches!(main_script(text), Some(Script::Latin) | None);
    if !texts.iter().all(latin) {
        return false;
    }
    let mut score = 0_i32;
    for word in texts
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_alphabetic()))
    {
        let word = word.to_lowercase();
        if FOREIGN.contains(&word.as_str()) {
            score -= 1;
        } else if word.len() > 1 && Language::ENGLISH.is_function_word(&word) && word != "an" {
            score += 1;
        }
    }
    score >= 0
}

#[cfg(test)]
mod tests {
    use super::are_english;

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
