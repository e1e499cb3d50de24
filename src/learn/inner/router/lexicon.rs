//! The words that tell how something is said and not what it is about: function words of every language
//! (`text::language`), and words of conversation (`speech.json`).

use super::terms::tokens;
use crate::text::characters::is_mark;
use crate::text::language::function_words;
use crate::text::scan::{Kind, Token};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

/// The role of a word in a conversation, as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Role(u8);

impl Role {
    /// Points back: it, there, her.
    pub const ANAPHORA: Role = Role(1);
    /// Goes on from what was said: and, but, so.
    pub const OPENER: Role = Role(2);
    /// Asks for more: tell, explain, go on.
    pub const REQUEST: Role = Role(4);
    /// Thanks, greets, praises or takes leave.
    pub const SOCIAL: Role = Role(8);
    /// Asks: what, how many.
    pub const QUESTION: Role = Role(16);
    /// Turns back to an earlier subject.
    pub const RETURN: Role = Role(64);
    /// On the language's list of function words.
    pub const FUNCTION: Role = Role(32);

    pub fn is(self, other: Role) -> bool {
        self.0 & other.0 != 0
    }
}

/// A language by its place in the lexicon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language(u8);

#[derive(Deserialize)]
struct Lists {
    anaphora: String,
    openers: String,
    requests: String,
    social: String,
    questions: String,
    returns: String,
}

/// What is known of a word in one language.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub language: Language,
    pub role: Role,
}

pub struct Lexicon {
    words: HashMap<String, Vec<Known>>,
    languages: usize,
    /// The language that writes every noun with a capital.
    pub german: Language,
    /// Letters of the longest word.
    longest: usize,
}

/// Codes of the languages whose function words are used.
const CODES: [&str; 44] = [
    "en", "af", "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "eo", "es", "et", "fa", "fi", "fr",
    "gl", "gu", "he", "hi", "hr", "hu", "hy", "id", "it", "ja", "ko", "lt", "lv", "mr", "nl", "no",
    "pl", "pt", "ro", "ru", "sk", "sl", "sv", "th", "tl", "tr", "vi", "zh",
];

/// The words of all languages.
pub fn lexicon() -> &'static Lexicon {
    static LEXICON: OnceLock<Lexicon> = OnceLock::new();
    LEXICON.get_or_init(Lexicon::new)
}

impl Lexicon {
    fn new() -> Self {
        let text = include_str!("speech.json");
        let spoken: BTreeMap<String, Lists> =
            serde_json::from_str(text).expect("the lists are built in and tested");
        let mut codes = CODES.to_vec();
        let others = spoken.keys().map(String::as_str);
        codes.extend(others.filter(|c| !CODES.contains(c)));
        let mut lexicon = Lexicon {
            words: HashMap::new(),
            languages: codes.len(),
            german: Language(codes.iter().position(|c| *c == "de").unwrap_or(0) as u8),
            longest: 1,
        };
        for (language, code) in codes.iter().enumerate() {
            let function = match CODES.contains(code) {
                true => function_words(code),
                false => &[],
            };
            let mut add = |word: &str, role| lexicon.add(word, Language(language as u8), role);
            function.iter().for_each(|w| add(w, Role::FUNCTION));
            let Some(lists) = spoken.get(*code) else {
                continue;
            };
            for (list, role) in [
                (&lists.anaphora, Role::ANAPHORA),
                (&lists.openers, Role::OPENER),
                (&lists.requests, Role::REQUEST),
                (&lists.social, Role::SOCIAL),
                (&lists.questions, Role::QUESTION),
                (&lists.returns, Role::RETURN),
            ] {
                list.split_whitespace().for_each(|w| add(w, role));
            }
        }
        lexicon
    }

    fn add(&mut self, word: &str, language: Language, role: Role) {
        let tokens = tokens(word);
        let spaced = tokens.iter().any(|t| t.kind != Kind::Unspaced);
        if tokens.is_empty() || (spaced && tokens.len() > 1) {
            return;
        }
        let word: String = tokens.iter().map(|t| t.text.as_str()).collect();
        self.longest = self.longest.max(word.chars().count());
        let known = self.words.entry(word).or_default();
        match known.iter_mut().find(|k| k.language == language) {
            Some(known) => known.role = Role(known.role.0 | role.0),
            None => known.push(Known { language, role }),
        }
    }

    fn known(&self, word: &str) -> &[Known] {
        self.words.get(word).map_or(&[], Vec::as_slice)
    }

    /// The words of a text, each with what is known of it. Runs without spaces are cut where known words end, because
    /// dictionaries cut inflected forms anywhere.
    pub fn read(&self, tokens: Vec<Token>) -> Vec<(Token, &[Known])> {
        let mut words = Vec::new();
        for run in tokens.chunk_by(|a, b| a.kind == b.kind) {
            if run[0].kind == Kind::Unspaced {
                self.read_run(run, &mut words);
            } else {
                words.extend(run.iter().map(|t| (t.clone(), self.known(&t.text))));
            }
        }
        words
    }

    fn read_run<'a>(&'a self, run: &[Token], words: &mut Vec<(Token, &'a [Known])>) {
        let letters: Vec<char> = run.iter().flat_map(|t| t.text.chars()).collect();
        let ends: Vec<usize> = run
            .iter()
            .scan(0, |end, t| {
                *end += t.text.chars().count();
                Some(*end)
            })
            .collect();
        let mut push = |from: usize, to: usize| {
            let text: String = letters[from..to].iter().collect();
            let known = self.known(&text);
            let kind = Kind::Unspaced;
            words.push((Token { text, kind }, known));
        };
        let is_known = |from: usize, to: usize| {
            let text: String = letters[from..to].iter().collect();
            self.words.contains_key(&text)
        };
        let mut at = 0;
        while at < letters.len() {
            // A known word ends where a word of the dictionary ends, or is long enough to be no accident.
            let whole = |to: &usize| {
                let cut = ends.binary_search(to).is_err();
                let parts_a_letter = letters.get(*to).is_some_and(|c| is_mark(*c));
                (!cut || (to - at >= 3 && !parts_a_letter)) && is_known(at, *to)
            };
            let furthest = letters.len().min(at + self.longest);
            if let Some(to) = (at + 1..=furthest).rev().find(whole) {
                push(at, to);
                at = to;
                continue;
            }
            let end = ends[ends.partition_point(|end| *end <= at)];
            match (at..end).all(|i| is_known(i, i + 1)) {
                true => (at..end).for_each(|i| push(i, i + 1)),
                false => push(at, end),
            }
            at = end;
        }
    }

    /// The language that knows most of the words. Of several the first counts, so English before others.
    pub fn language<'a>(&self, words: impl Iterator<Item = &'a [Known]>) -> Language {
        let mut votes = vec![0; self.languages];
        for known in words.flatten() {
            votes[usize::from(known.language.0)] += 1;
        }
        let most = votes.iter().max().copied().unwrap_or(0);
        Language(votes.iter().position(|v| *v == most).unwrap_or(0) as u8)
    }
}
