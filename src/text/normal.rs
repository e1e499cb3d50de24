//! The normal form in which texts are compared: NFKC, case folded, without characters that show nothing, digits of
//! every script as ASCII, all white space as one kind.

use super::characters::{digit, is_invisible};
use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;

/// The normal form of `text`. Signs and separators of numbers survive; a raised digit (10²) and a fraction (1½) stay
/// apart from the number before them, which plain NFKC would run together.
pub fn normal(text: &str) -> String {
    let shown: String = apart(text).chars().filter(|c| !is_removed(*c)).collect();
    let composed = ComposingNormalizerBorrowed::new_nfkc();
    let folded = CaseMapper::new()
        .fold_string(&composed.normalize(&shown))
        .into_owned();
    let plain = |c: char| match digit(c) {
        Some(value) => char::from_digit(value, 10).unwrap_or(c),
        None if c.is_whitespace() => ' ',
        None => plain_mark(c),
    };
    composed.normalize(&folded).chars().map(plain).collect()
}

/// `text` in Unicode's form NFC, in which an accent is part of its letter.
pub fn composed(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc()
        .normalize(text)
        .into_owned()
}

/// `text` in Unicode's form NFKC, in which letters that only look different are the same.
pub fn compatible(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfkc()
        .normalize(text)
        .into_owned()
}

/// Vowel points of Arabic and Hebrew, and Arabic's stretched line, are optional in writing.
fn is_removed(c: char) -> bool {
    is_invisible(c)
        || matches!(c, '\u{64b}'..='\u{652}' | '\u{670}' | '\u{640}' | '\u{591}'..='\u{5c7}')
}

/// Signs that are written in several ways.
fn plain_mark(c: char) -> char {
    match c {
        '‘' | '’' | '‛' | 'ʼ' | '′' | '`' | '´' => '\'',
        '−' => '-',
        '٫' => '.',
        '٬' => ',',
        '٪' => '%',
        '؉' => '‰',
        c => c,
    }
}

/// A space before a fraction, an arrow before a raised digit, where a digit stands before it.
fn apart(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_digit = false;
    for c in text.chars() {
        match c {
            '¼'..='¾' | '⅐'..='⅞' | '↉' if after_digit => out.push(' '),
            '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' if after_digit => {
                out.push('↑')
            }
            _ => {}
        }
        out.push(c);
        after_digit = digit(c).is_some();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_for_what_reads_the_same() {
        for (a, b) in [
            ("Cafe\u{301} Noir", "CAFÉ noir"),
            ("STRASSE", "Straße"),
            ("fer\u{ad}ry", "ferry"),
            ("4\u{a0}200", "4 200"),
            ("１３８７", "1387"),
            ("ﬁsh", "fish"),
            ("ΟΔΟΣ", "οδος"),
            ("−5", "-5"),
            ("مُحَمَّد", "محمد"),
            ("كتـــاب", "كتاب"),
            ("ｶﾀｶﾅ", "カタカナ"),
            ("٪", "%"),
            ("％", "%"),
            ("﹪", "%"),
            ("؉", "‰"),
        ] {
            assert_eq!(normal(a), normal(b), "{a} {b}");
        }
    }

    #[test]
    fn what_reads_differently_stays_different() {
        for (a, b) in [
            ("10²", "102"),
            ("1½", "11/2"),
            ("-5", "5"),
            ("schon", "schön"),
        ] {
            assert_ne!(normal(a), normal(b), "{a} {b}");
        }
    }
}
