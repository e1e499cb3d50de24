//! What kind of character this is: the few questions that the room asks about one.

use icu_properties::CodePointMapData;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointSetData, props::Script};

pub fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}

fn category(c: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(c)
}

/// Whether the script puts no space between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
pub fn is_unspaced(c: char) -> bool {
    const UNSPACED: [Script; 7] = [
        Script::Han,
        Script::Hiragana,
        Script::Katakana,
        Script::Thai,
        Script::Lao,
        Script::Khmer,
        Script::Myanmar,
    ];
    // The mark that lengthens a kana vowel belongs to two scripts.
    c == 'ー' || (!c.is_ascii() && UNSPACED.contains(&script(c)) && is_wordy(c))
}

/// A letter of Chinese or Japanese.
pub fn is_east_asian(c: char) -> bool {
    c == 'ー' || matches!(script(c), Script::Han | Script::Hiragana | Script::Katakana)
}

/// A letter, a digit, or a mark on one.
pub fn is_wordy(c: char) -> bool {
    c.is_alphanumeric() || is_mark(c)
}

/// A combining mark (accent, vowel sign).
pub fn is_mark(c: char) -> bool {
    !c.is_ascii() && GeneralCategoryGroup::Mark.contains(category(c))
}

/// Punctuation of any script, and the symbols that SQuAD counts as punctuation.
pub fn is_punctuation(c: char) -> bool {
    match c.is_ascii() {
        true => c.is_ascii_punctuation(),
        false => GeneralCategoryGroup::Punctuation.contains(category(c)),
    }
}

/// Shows nothing and separates nothing: soft hyphens, zero-width characters, direction marks, byte order marks.
pub fn is_invisible(c: char) -> bool {
    !c.is_ascii() && CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Whether a reader sees nothing of the text: white space, control characters, invisible ones and the blank cell of
/// Braille.
pub fn is_blank(text: &str) -> bool {
    let blank = |c: char| c.is_whitespace() || c.is_control() || c == '\u{2800}' || is_invisible(c);
    text.chars().all(blank)
}

/// The value of a decimal digit of any script.
pub fn digit(c: char) -> Option<u32> {
    if c.is_ascii() {
        return c.to_digit(10);
    }
    let is_digit = |c| category(c) == GeneralCategory::DecimalNumber;
    // Unicode assigns the digits of a script in a row, from zero.
    let before = |n: u32| char::from_u32(c as u32 - n).is_some_and(is_digit);
    is_digit(c).then(|| (1..10).take_while(|n| before(*n)).count() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_a_visible_character_is_blank() {
        for blank in [
            "",
            " \u{a0}\u{3000}\n",
            "\u{200b}\u{feff}\u{2060}",
            "\u{ad}\u{3164}\u{2800}\0",
        ] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for seen in ["a", ".", "\u{200b}あ", "\u{301}", "👍\u{fe0f}"] {
            assert!(!is_blank(seen), "{seen:?}");
        }
    }

    #[test]
    fn digits_of_every_script_have_their_value() {
        let read = |text: &str| text.chars().map(digit).collect::<Option<Vec<u32>>>();
        for seven_zero_nine in ["709", "٧٠٩", "۷۰۹", "७०९", "๗๐๙", "７０９", "৭০৯"]
        {
            assert_eq!(
                read(seven_zero_nine),
                Some(vec![7, 0, 9]),
                "{seven_zero_nine}"
            );
        }
        assert_eq!(digit('x'), None);
        assert_eq!(digit('½'), None);
    }

    #[test]
    fn the_kinds() {
        assert!("町タのーไ".chars().all(is_unspaced));
        assert!(!"aяक한、。・".chars().any(is_unspaced));
        assert!(
            "\u{ad}\u{200b}\u{200f}\u{feff}\u{2060}"
                .chars()
                .all(is_invisible)
        );
        assert!("“”«»、。？؟،।—-$".chars().all(is_punctuation));
        assert!(!"a1 €é".chars().any(is_punctuation));
    }
}
