//! The features of a text that the index holds. A word of a script with spaces counts as the whole word, as its
//! beginning, and as pieces of four letters, so that inflected forms of a word share most of their features. Scripts
//! without spaces and Korean count as pairs of characters, because dictionaries do not know names.

use crate::text::characters::script;
use crate::text::normal::normal;
use crate::text::scan::{Hyphens, Kind, Token, scan};
use crate::text::script::Script;

/// The words and numbers of a text in normal form.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = scan(&normal(text), Hyphens::Split);
    tokens.retain(|t| t.kind != Kind::Sign && !t.text.is_empty());
    for token in tokens.iter_mut().filter(|t| t.kind == Kind::Word) {
        token.text = plain(std::mem::take(&mut token.text));
    }
    tokens
}

/// A word, or a run of words without spaces between them.
pub struct Unit {
    pub features: Vec<u64>,
    /// One of the features for each place in the text: what sentences are told apart by.
    pub keys: Vec<u64>,
    /// The feature of a long word's beginning.
    pub beginning: Option<u64>,
    /// Number of words, about.
    pub words: f32,
}

/// Length of a word's beginning, letters.
const BEGINNING: usize = 5;
/// Length of a word's pieces, letters.
const PIECE: usize = 4;

#[derive(Clone, Copy)]
enum Family {
    Word = 1,
    Beginning = 2,
    Piece = 3,
}

/// The units of the tokens for which `wanted` holds. A token that is left out parts its neighbours.
pub fn units(tokens: &[Token], wanted: impl Fn(usize) -> bool) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let glued = |i: usize| i < tokens.len() && wanted(i) && tokens[i].kind == Kind::Unspaced;
        if !wanted(at) {
            at += 1;
        } else if glued(at) {
            let end = (at..).find(|i| !glued(*i)).unwrap_or(at + 1);
            units.push(unspaced(&tokens[at..end]));
            at = end;
        } else {
            units.push(spaced(&tokens[at].text));
            at += 1;
        }
    }
    units
}

fn spaced(word: &str) -> Unit {
    let letters: Vec<char> = word.chars().collect();
    let mut features = vec![feature(Family::Word, &letters)];
    let mut beginning = None;
    if letters.iter().any(|c| is_syllable(*c)) {
        features.extend(pieces(&letters, 2));
    } else if letters.iter().any(|c| c.is_alphabetic()) {
        if letters.len() > BEGINNING {
            let start = feature(Family::Beginning, &letters[..BEGINNING]);
            features.push(start);
            beginning = Some(start);
        }
        let mut framed = vec!['_'];
        framed.extend(&letters);
        framed.push('_');
        features.extend(pieces(&framed, PIECE));
    }
    Unit {
        keys: vec![beginning.unwrap_or(features[0])],
        features,
        beginning,
        words: 1.0,
    }
}

fn unspaced(run: &[Token]) -> Unit {
    let letters: Vec<char> = run.iter().flat_map(|t| t.text.chars()).collect();
    let syllabic = letters.iter().any(|c| {
        matches!(
            script(*c),
            Script::Thai | Script::Lao | Script::Khmer | Script::Myanmar
        )
    });
    let length = if syllabic { PIECE } else { 2 };
    let keys: Vec<u64> = match letters.len() {
        1 => vec![feature(Family::Piece, &letters)],
        _ => pieces(&letters, length).collect(),
    };
    let mut features = keys.clone();
    for token in run {
        let word: Vec<char> = token.text.chars().collect();
        features.push(feature(Family::Word, &word));
    }
    let letters_of_a_word = if syllabic { 5.0 } else { 2.0 };
    Unit {
        features,
        keys,
        beginning: None,
        words: (letters.len() as f32 / letters_of_a_word).max(1.0),
    }
}

/// All pieces of this length; the whole, where it is no longer.
fn pieces(letters: &[char], length: usize) -> impl Iterator<Item = u64> {
    let length = length.min(letters.len()).max(1);
    letters.windows(length).map(|w| feature(Family::Piece, w))
}

/// FNV-1a over the letters, mixed at the end so that every bit counts.
fn feature(family: Family, letters: &[char]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let start = 0xcbf2_9ce4_8422_2325 ^ family as u64;
    let step = |hash: u64, c: &char| (hash ^ u64::from(*c)).wrapping_mul(PRIME);
    let hash = letters.iter().fold(start.wrapping_mul(PRIME), step);
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

fn is_syllable(c: char) -> bool {
    ('가'..='힣').contains(&c)
}

/// The word as people may also write it: Arabic without its article and with one form of alef.
fn plain(word: String) -> String {
    if !word.chars().any(|c| ('\u{620}'..='\u{64a}').contains(&c)) {
        return word;
    }
    let word: String = word
        .chars()
        .map(|c| match c {
            'أ' | 'إ' | 'آ' => 'ا',
            'ة' => 'ه',
            'ى' => 'ي',
            c => c,
        })
        .collect();
    let long_enough = |s: &&str| s.chars().count() >= 3;
    let prefixes = ["وال", "بال", "كال", "فال", "لل", "ال"];
    let mut cut = prefixes.iter().filter_map(|p| word.strip_prefix(p));
    cut.find(long_enough).unwrap_or(&word).to_owned()
}
