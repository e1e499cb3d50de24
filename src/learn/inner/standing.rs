//! The sentences of an earlier text that stand unchanged in its newer text. Both texts are read once, however many
//! answers are looked for.

use crate::learn::grading::grader::Words;
use crate::text::sentences::sentences;
use std::collections::{HashMap, HashSet};

pub(super) struct Standing(Vec<Sentence>);

struct Sentence {
    text: String,
    words: Words,
}

impl Standing {
    pub fn new(old: &str, new: &str) -> Standing {
        let newer = Newer::new(new);
        let kept = sentences(old).into_iter().filter(|s| newer.holds(s));
        Standing(
            kept.map(|sentence| Sentence {
                text: sentence.to_owned(),
                words: Words::new(sentence),
            })
            .collect(),
        )
    }

    /// Whether one of them holds the answer.
    pub fn says(&self, answer: &str) -> bool {
        let gold = Words::new(answer);
        let mut all = self.0.iter();
        all.any(|s| s.text.contains(answer.trim()) || s.words.contain(&gold))
    }
}

/// Bytes of a beginning by which a sentence is looked for. A shorter sentence must be one in the newer text, too.
const BEGINNING: usize = 16;

/// The newer text, with white space made single.
struct Newer {
    text: String,
    short: HashSet<String>,
    /// The last place of each beginning of a word, and for each place the one before it with the same bytes.
    last: HashMap<[u8; BEGINNING], usize>,
    before: HashMap<usize, usize>,
}

impl Newer {
    fn new(text: &str) -> Newer {
        let short = sentences(text).into_iter().map(spaced);
        let mut newer = Newer {
            short: short.filter(|s| s.len() < BEGINNING).collect(),
            text: spaced(text),
            last: HashMap::new(),
            before: HashMap::new(),
        };
        let bytes = newer.text.as_bytes();
        for (at, window) in bytes.windows(BEGINNING).enumerate() {
            let within = |at: usize| bytes[at - 1].is_ascii_alphanumeric();
            if at > 0 && within(at) && window[0].is_ascii_alphanumeric() {
                continue;
            }
            let window = window.try_into().expect("windows have this length");
            if let Some(earlier) = newer.last.insert(window, at) {
                newer.before.insert(at, earlier);
            }
        }
        newer
    }

    fn holds(&self, sentence: &str) -> bool {
        let sentence = spaced(sentence);
        let Some(beginning) = sentence.as_bytes().first_chunk::<BEGINNING>() else {
            return self.short.contains(&sentence);
        };
        let mut place = self.last.get(beginning);
        while let Some(at) = place {
            if self.text.as_bytes()[*at..].starts_with(sentence.as_bytes()) {
                return true;
            }
            place = self.before.get(at);
        }
        false
    }
}

fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_stands_wherever_its_lines_end() {
        let old = "The ferry leaves at seven\nfrom the long wooden pier. Its captain is Ada. It costs 4 marks.";
        let new = "News. The ferry leaves at seven from the\nlong wooden pier. Its captain is Bo. It costs 4 marks, or 5.";
        let standing = Standing::new(old, new);
        assert!(standing.says("seven"));
        assert!(standing.says("wooden pier"));
        // Changed, and longer now.
        assert!(!standing.says("Ada") && !standing.says("4 marks"));
        assert!(!standing.says("captain"));
    }

    #[test]
    fn words_are_compared_as_answers_are() {
        let text = "The mayor of Quillmere paid 1,500 crowns by e-mail.";
        let standing = Standing::new(text, text);
        for answer in ["1500 crowns", "a mayor", "email", "Quill"] {
            assert!(standing.says(answer), "{answer}");
        }
        assert!(!standing.says("1,600 crowns"));
        let chinese = Standing::new("镇长是谭欣。他住在河边。", "他住在河边。镇长是奥雷尔。");
        assert!(chinese.says("河边") && !chinese.says("谭欣"));
    }

    #[test]
    fn short_sentences_stand_alone() {
        let standing = Standing::new("Ada.\nBo.\nsalt", "Canada. Bo. Salty\nsalt");
        assert!(!standing.says("Ada"));
        assert!(standing.says("Bo") && standing.says("salt"));
        assert!(!Standing::new("", "").says("x"));
        // The same beginning many times.
        let list = "Room number one is blue. Room number one is grey. Room number one is red.";
        let standing = Standing::new("Room number one is blue. Room number one is pink.", list);
        assert!(standing.says("blue") && !standing.says("pink"));
    }
}
