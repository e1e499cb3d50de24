//! The words of a text, in normal form, for comparing and for looking up.

use super::characters::{is_east_asian, is_unspaced};
use super::normal::normal;
use super::scan::{Hyphens, Kind, Token, scan};
use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;
use std::collections::HashMap;
use std::hash::Hash;

/// The words and numbers of `text` in any language, in normal form: hyphenated words apart, scripts without spaces
/// cut by dictionary, numbers in one spelling, no punctuation.
pub fn words(text: &str) -> Vec<String> {
    let tokens = scan(&normal(text), Hyphens::Split).into_iter();
    tokens
        .filter(|t| t.kind != Kind::Sign)
        .map(|t| t.text)
        .collect()
}

/// Byte offsets between words (UAX #29; by dictionary where the script has no spaces), both ends included.
pub fn borders(text: &str) -> Vec<usize> {
    let segmenter = WordSegmenter::new_auto(WordBreakInvariantOptions::default());
    segmenter.segment_str(text).collect()
}

/// Words that a person counts: between spaces, or where a script has none about two Chinese or Japanese letters and
/// five of an alphabet.
pub fn count(text: &str) -> usize {
    let unspaced = || text.chars().filter(|c| is_unspaced(*c));
    let wide = unspaced().filter(|c| is_east_asian(*c)).count();
    let alphabetic = unspaced().count() - wide;
    let spaced = text.split(|c: char| c.is_whitespace() || is_unspaced(c));
    let spaced = spaced.filter(|w| w.chars().any(char::is_alphanumeric));
    spaced.count() + wide.div_ceil(2) + alphabetic.div_ceil(5)
}

/// Words that both lists have, counted with repetition.
pub fn in_common<W: Eq + Hash>(a: &[W], b: &[W]) -> usize {
    let mut left: HashMap<&W, usize> = HashMap::new();
    for word in b {
        *left.entry(word).or_default() += 1;
    }
    let taken = a.iter().filter(|word| match left.get_mut(word) {
        Some(n) if *n > 0 => {
            *n -= 1;
            true
        }
        _ => false,
    });
    taken.count()
}

/// A text as tokens, laid out so that a phrase can be found in it.
pub struct Line {
    pub tokens: Vec<Token>,
    flat: String,
    /// Where tokens begin and end in `flat`.
    starts: Vec<usize>,
    ends: Vec<usize>,
}

/// So many letters of a script without spaces are found within a word too: dictionaries do not know names, and cut
/// them anywhere.
const LONG_NAME: usize = 4;

impl Line {
    pub fn new(text: &str, hyphens: Hyphens) -> Line {
        Line::of_normal(&normal(text), hyphens)
    }

    /// As [`Line::new`], of a text in normal form.
    pub fn of_normal(normal: &str, hyphens: Hyphens) -> Line {
        let mut tokens = scan(normal, hyphens);
        tokens.retain(|t| !t.text.is_empty());
        Line::of(tokens)
    }

    pub fn of(tokens: Vec<Token>) -> Line {
        let (mut flat, mut starts, mut ends) = (String::new(), Vec::new(), Vec::new());
        let mut spaced = false;
        for token in tokens.iter().filter(|t| t.kind != Kind::Sign) {
            let glued = token.kind == Kind::Unspaced;
            if spaced && !glued {
                flat.push(' ');
            }
            spaced = !glued;
            starts.push(flat.len());
            flat.push_str(&token.text);
            ends.push(flat.len());
        }
        Line {
            tokens,
            flat,
            starts,
            ends,
        }
    }

    /// The same without English articles.
    pub fn without_articles(&self) -> Line {
        let tokens = self.tokens.iter();
        let kept = tokens.filter(|t| !super::squad::is_article(&t.text));
        Line::of(kept.cloned().collect())
    }

    pub fn is_empty(&self) -> bool {
        self.flat.is_empty()
    }

    /// Words and numbers.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let words = self.tokens.iter().filter(|t| t.kind != Kind::Sign);
        words.map(|t| t.text.as_str())
    }

    pub fn numbers(&self) -> impl Iterator<Item = &str> {
        self.of_kind(|kind| kind == Kind::Number)
    }

    fn of_kind(&self, wanted: impl Fn(Kind) -> bool) -> impl Iterator<Item = &str> {
        self.tokens
            .iter()
            .filter(move |t| wanted(t.kind))
            .map(|t| t.text.as_str())
    }

    /// Whether `phrase` stands in this text, whole words in order.
    pub fn contains(&self, phrase: &Line) -> bool {
        if phrase.is_empty() {
            return false;
        }
        let unspaced = phrase.flat.chars().filter(|c| is_unspaced(*c)).count();
        let all_unspaced = unspaced == phrase.flat.chars().count();
        let within = all_unspaced && unspaced >= LONG_NAME;
        if within {
            return self.flat.contains(&phrase.flat);
        }
        self.starts.iter().any(|at| {
            let end = at + phrase.flat.len();
            self.flat[*at..].starts_with(&phrase.flat) && self.ends.binary_search(&end).is_ok()
        })
    }

    /// Numbers with the unit or sign that each bears.
    pub fn quantities(&self) -> Vec<(&str, Option<&str>)> {
        let place = |i: usize| self.tokens.get(i);
        let numbers = self
            .tokens
            .iter()
            .enumerate()
            .filter(|(_, t)| t.kind == Kind::Number);
        let unit_of = |i: usize| {
            let before = i
                .checked_sub(1)
                .and_then(place)
                .filter(|t| t.kind == Kind::Sign && !super::quantity::follows(&t.text));
            let after = place(i + 1).filter(|t| {
                t.kind == Kind::Sign || super::quantity::unit(&t.text).is_some_and(|u| u == t.text)
            });
            before.or(after).map(|t| t.text.as_str())
        };
        numbers
            .map(|(i, t)| (t.text.as_str(), unit_of(i)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(text: &str, phrase: &str) -> bool {
        Line::new(text, Hyphens::Split).contains(&Line::new(phrase, Hyphens::Split))
    }

    #[test]
    fn a_phrase_is_found_as_whole_words() {
        assert!(contains("It is the blue whale.", "blue whale"));
        assert!(!contains("It was in 1914.", "14"));
        assert!(contains("banana na na", "na na"));
        assert!(contains("镇长是谭欣·奥雷尔。", "谭欣·奥雷尔"));
        assert!(contains("นายกเทศมนตรีคือทัมซิน", "ทัมซิน"));
        assert!(!contains("東京都に住む", "京都"));
        assert!(contains("京都に住む", "京都"));
        assert!(contains("Python语言", "Python 语言"));
        assert!(!contains("anything", "?!"));
    }

    #[test]
    fn a_number_bears_its_unit() {
        let line = Line::new("It cost $5, 40 km away, 7 % more, in 1914", Hyphens::Split);
        let found = [
            ("5", Some("$")),
            ("40", Some("km")),
            ("7", Some("%")),
            ("1914", None),
        ];
        assert_eq!(line.quantities(), found);
    }

    #[test]
    fn people_count_words() {
        assert_eq!(count("one two – three"), 3);
        assert_eq!(count("町長はタムシンです"), 5);
        assert_eq!(count("ประชากร6214"), 3);
    }
}
