//! A text with what each word does in it: bear a topic, ask, point back, thank. The language of a short text is told by
//! whose function words it has most of.

use super::lexicon::{Known, Language, Role, lexicon};
use super::terms::tokens;
use crate::text::scan::Token;
use crate::text::script::{Script, main_script};
use std::collections::HashSet;

/// A text as tokens with what is known of each in the text's language.
pub struct Speech {
    pub tokens: Vec<Token>,
    /// The role of each token; `None`: it is a word like any other.
    pub roles: Vec<Option<Role>>,
    /// Whether each token is written like a name: with a capital within a sentence.
    pub names: Vec<bool>,
    /// The script of most letters, where it was asked for.
    pub script: Option<Script>,
}

impl Speech {
    /// A text in the language that its own words tell.
    pub fn new(text: &str) -> Self {
        let words = lexicon().read(tokens(text));
        let language = lexicon().language(words.iter().map(|(_, known)| *known));
        let names = match lexicon().german == language {
            true => HashSet::new(),
            false => capitalised(text),
        };
        let names = words.iter().map(|(t, _)| names.contains(&t.text));
        Speech {
            names: names.collect(),
            script: main_script(text),
            ..Speech::of(words, language)
        }
    }

    /// Sentences of one text, in the language that all of their words tell. Names are not looked for.
    pub fn sentences<'t>(sentences: impl IntoIterator<Item = &'t str>) -> Vec<Speech> {
        let read = |sentence| lexicon().read(tokens(sentence));
        let sentences: Vec<_> = sentences.into_iter().map(read).collect();
        let words = sentences.iter().flatten();
        let language = lexicon().language(words.map(|(_, known)| *known));
        let of = |words| Speech::of(words, language);
        sentences.into_iter().map(of).collect()
    }

    fn of(words: Vec<(Token, &[Known])>, language: Language) -> Self {
        let role = |known: &[Known]| {
            let known = known.iter().find(|k| k.language == language);
            known.map(|k| k.role)
        };
        Speech {
            roles: words.iter().map(|(_, known)| role(known)).collect(),
            names: vec![false; words.len()],
            script: None,
            tokens: words.into_iter().map(|(t, _)| t).collect(),
        }
    }

    pub fn has(&self, role: Role) -> bool {
        self.roles.iter().flatten().any(|r| r.is(role))
    }

    /// Whether one of the first two tokens has the role.
    pub fn opens_with(&self, role: Role) -> bool {
        let first = self.roles.iter().take(2);
        first.flatten().any(|r| r.is(role))
    }

    /// Whether the token may be what the text is about. Words of praise may.
    pub fn bears_topic(&self, token: usize) -> bool {
        self.roles[token].is_none_or(|r| r == Role::SOCIAL)
    }

    /// Whether the text is thanks, a greeting, praise or a farewell, and nothing else: no question, and no request in
    /// its last part.
    pub fn is_social(&self, text: &str) -> bool {
        let asks = text.contains(['?', '？', '؟']) || self.has(Role::QUESTION);
        let topics = self.roles.iter().filter(|r| r.is_none()).count();
        if asks || topics > 1 || !self.has(Role::SOCIAL) {
            return false;
        }
        let parts = text.split(PARTS);
        let last = parts.map(Speech::new).rfind(|p| !p.tokens.is_empty());
        let says_little = |part: &Speech| part.tokens.len() <= 2 && !part.has(Role::REQUEST);
        last.is_some_and(|part| part.has(Role::SOCIAL) || says_little(&part))
    }
}

/// What parts of a sentence end with.
const PARTS: [char; 11] = [',', '.', '!', ';', '，', '。', '！', '、', '،', '।', '\n'];

/// The words that begin with a capital or hold a digit beside letters, and do not open a sentence.
fn capitalised(text: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    let mut opens = true;
    for word in text.split_whitespace() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let first = bare.chars().next();
        let mixed =
            bare.chars().any(char::is_alphabetic) && bare.chars().any(|c| c.is_ascii_digit());
        if mixed || (!opens && first.is_some_and(char::is_uppercase)) {
            found.extend(tokens(bare).into_iter().map(|t| t.text));
        }
        opens = word.ends_with(['.', '?', '!', ':', '"', '“', '„', '«']);
    }
    found
}
