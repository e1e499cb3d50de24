//! The phrases of a passage that could be the answer to a question: runs of words between function
//! words and punctuation (RAKE, Rose et al. 2010), the most telling first.

use super::Passage;
use super::sentences::sentences;
use crate::text::words::words;
use std::collections::HashSet;

/// A phrase, and the sentence it stands in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phrase<'a> {
    pub sentence: &'a str,
    pub text: &'a str,
}

/// Longest phrase, words.
const LONGEST: usize = 5;

/// At most `most` phrases: every sentence gives its best before any gives its second; where there are
/// more sentences than that, evenly spaced ones speak for all.
pub fn phrases(passage: &Passage, most: usize) -> Vec<Phrase<'_>> {
    let title = words(&passage.title);
    let mut seen = HashSet::new();
    let by_sentence: Vec<Vec<Phrase>> = sentences(&passage.text)
        .into_iter()
        .map(|sentence| {
            let mut found: Vec<Phrase> = runs(sentence)
                .into_iter()
                .map(|text| Phrase { sentence, text })
                .filter(|p| !words(p.text).iter().all(|w| title.contains(w)))
                .filter(|p| seen.insert(words(p.text)))
                .collect();
            found.sort_by_key(|p| std::cmp::Reverse(weight(p)));
            found
        })
        .collect();
    let speaking = by_sentence.len().min(most);
    let spaced: Vec<&Vec<Phrase>> = (0..speaking)
        .map(|i| &by_sentence[i * by_sentence.len() / speaking])
        .collect();
    let longest = spaced.iter().map(|found| found.len()).max().unwrap_or(0);
    (0..longest)
        .flat_map(|nth| spaced.iter().filter_map(move |found| found.get(nth)))
        .take(most)
        .copied()
        .collect()
}

/// How telling: numbers and names first, then phrases of several words, then long words.
fn weight(phrase: &Phrase) -> usize {
    let text = phrase.text;
    let first = phrase.sentence.starts_with(text);
    let digit = text.chars().any(|c| c.is_ascii_digit());
    let name = text.chars().next().is_some_and(char::is_uppercase) && !first;
    let several = text.contains(' ');
    1000 * (digit as usize + name as usize) + 100 * several as usize + text.len().min(30)
}

/// Runs of content words, cut from `sentence`.
fn runs(sentence: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut run: Option<(usize, usize)> = None;
    let mut at = 0;
    for piece in sentence.split_inclusive(char::is_whitespace) {
        let start = at;
        at += piece.len();
        let trimmed = piece.trim_end();
        let word = trimmed.trim_matches(|c: char| !c.is_alphanumeric());
        let Some(offset) = (!word.is_empty()).then(|| trimmed.find(word)).flatten() else {
            found.extend(run.take());
            continue;
        };
        let (from, to) = (start + offset, start + offset + word.len());
        if is_function_word(word) {
            found.extend(run.take());
            continue;
        }
        if offset > 0 {
            found.extend(run.take());
        }
        run = Some((run.map_or(from, |(first, _)| first), to));
        if start + trimmed.len() > to {
            found.extend(run.take());
        }
    }
    found.extend(run);
    let telling = |text: &&str| {
        let count = text.split_whitespace().count();
        count <= LONGEST
            && (count > 1 || text.len() > 3 || text.chars().any(|c| c.is_ascii_digit()))
    };
    found
        .into_iter()
        .map(|(a, b)| &sentence[a..b])
        .filter(telling)
        .collect()
}

fn is_function_word(word: &str) -> bool {
    let lower = word.to_lowercase();
    FUNCTION_WORDS.split_whitespace().any(|w| w == lower)
}

/// Words that no answer consists of.
const FUNCTION_WORDS: &str = "a about above after again against all almost along already also although \
    always am among an and another any anyone anything are around as at away back be because become \
    becomes been before began being below beneath beside between beyond both but by called came can \
    cannot come comes could did do does doing done down during each either else enough even ever every \
    everything few first for former from further gave get gets given go goes had has have having he \
    hence her here hers herself him himself his how however i if in inside instead into is it its itself \
    just keep keeps kept known last later least less let lets like made make makes many may me might \
    more most much must my near nearly neither never next no nobody none nor not nothing now of off \
    often on once one only onto or other others our out outside over own per perhaps please put quite \
    rather said same says seen several shall she should since so some someone something sometimes soon \
    still such take taken takes than that the their theirs them themselves then there therefore these \
    they this those though through throughout thus to together too toward towards two under unless until \
    up upon us use used uses using usually very was we well went were what whatever when whenever where \
    whether which while who whoever whole whom whose why will with within without would yet you your";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_come_first_and_the_title_not_at_all() {
        let passage = Passage {
            title: "Quillmere".into(),
            text: "Quillmere is a river town of 6,214 people in the Aldous Hills, known for its \
                   bridge of green slate. Its mayor is Tamsin Orrel (a baker)."
                .into(),
        };
        let found: Vec<&str> = phrases(&passage, 10).iter().map(|p| p.text).collect();
        assert_eq!(
            found,
            [
                "6,214 people",
                "Tamsin Orrel",
                "Aldous Hills",
                "mayor",
                "green slate",
                "baker",
                "river town",
                "bridge"
            ]
        );
        assert_eq!(phrases(&passage, 2).len(), 2);
    }

    #[test]
    fn a_long_passage_is_asked_about_to_its_end() {
        let text: Vec<String> = (0..100).map(|i| format!("Room {i}00 is free.")).collect();
        let passage = Passage {
            title: "Hotel".into(),
            text: text.join(" "),
        };
        let found: Vec<&str> = phrases(&passage, 4).iter().map(|p| p.text).collect();
        assert_eq!(found, ["Room 000", "Room 2500", "Room 5000", "Room 7500"]);
    }
}
