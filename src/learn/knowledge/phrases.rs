//! The phrases of a passage that could be the answer to a question: runs of words between function
//! words and punctuation (RAKE, Rose et al. 2010), the most telling first.

use super::Passage;
use crate::text::characters::{digit, is_unspaced, is_wordy};
use crate::text::language::Language;
use crate::text::sentences::sentences;
use crate::text::syllables::without_particle;
use crate::text::words::{borders, count, words};
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
    let language = Language::of(&passage.text).unwrap_or(Language::ENGLISH);
    let mut seen = HashSet::new();
    let by_sentence: Vec<Vec<Phrase>> = sentences(&passage.text)
        .into_iter()
        .map(|sentence| {
            let mut found: Vec<Phrase> = runs(sentence, language)
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
    let number = text.chars().any(|c| digit(c).is_some());
    let name = text.chars().next().is_some_and(char::is_uppercase) && !first;
    let foreign = text.contains(NAME_DOTS);
    let several = text.contains(' ');
    1000 * (number as usize + (name || foreign) as usize)
        + 100 * several as usize
        + text.len().min(30)
}

/// The dots between the parts of a foreign name in Japanese and Chinese.
const NAME_DOTS: [char; 2] = ['・', '·'];

/// Function words of one letter that follow a name.
const COMMON_LETTERS: [&str; 16] = [
    "的", "是", "在", "和", "与", "了", "于", "为", "を", "は", "が", "の", "に", "で", "と", "も",
];

/// Runs of content words, cut from `sentence`.
fn runs(sentence: &str, language: Language) -> Vec<&str> {
    let found = match sentence.chars().any(is_unspaced) {
        true => runs_by_dictionary(sentence, language),
        false => runs_between_spaces(sentence, language),
    };
    let number = |text: &str| text.chars().any(|c| digit(c).is_some());
    let long = |text: &str| match text.chars().any(is_unspaced) {
        true => text.chars().count() > 1,
        false => text.chars().count() > 3 || !text.is_ascii() && text.chars().count() > 1,
    };
    let telling = |text: &&str| {
        let words = text.split_whitespace().count();
        count(text) <= LONGEST && (words > 1 || long(text) || number(text))
    };
    found.into_iter().filter(telling).collect()
}

fn runs_between_spaces(sentence: &str, language: Language) -> Vec<&str> {
    let mut found = Vec::new();
    let mut run: Option<(usize, usize)> = None;
    let mut at = 0;
    for piece in sentence.split_inclusive(char::is_whitespace) {
        let start = at;
        at += piece.len();
        let trimmed = piece.trim_end();
        let word = trimmed.trim_matches(|c: char| !is_wordy(c));
        let Some(offset) = (!word.is_empty()).then(|| trimmed.find(word)).flatten() else {
            found.extend(run.take());
            continue;
        };
        let (from, to) = (start + offset, start + offset + word.len());
        if language.is_function_word(word) {
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
    let cut = found.into_iter().map(|(a, b)| &sentence[a..b]);
    cut.map(without_particle).collect()
}

fn runs_by_dictionary(sentence: &str, language: Language) -> Vec<&str> {
    let mut found = Vec::new();
    let mut run: Option<(usize, usize)> = None;
    for pair in borders(sentence).windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let word = &sentence[from..to];
        let joins = run.is_some() && (word.chars().all(|c| NAME_DOTS.contains(&c)) || word == " ");
        if joins {
            continue;
        }
        // The letters of a foreign name stand for sounds; some of them alone are function words.
        let in_name = run.is_some_and(|(first, _)| sentence[first..from].contains(NAME_DOTS))
            && !COMMON_LETTERS.contains(&word);
        let content = word.chars().any(is_wordy) && (in_name || !language.is_function_word(word));
        match content {
            true => run = Some((run.map_or(from, |(first, _)| first), to)),
            false => found.extend(run.take()),
        }
    }
    found.extend(run);
    found
        .into_iter()
        .map(|(a, b)| sentence[a..b].trim())
        .collect()
}

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
    fn words_of_talk_stay_in_a_phrase() {
        let passage = Passage {
            title: "Ostrel Bay".into(),
            text:
                "On the last night of August the lighthouse is switched off and everyone eats eel \
                   pie by candlelight on the quay."
                    .into(),
        };
        let found: Vec<&str> = phrases(&passage, 10).iter().map(|p| p.text).collect();
        assert!(found.contains(&"everyone eats eel pie"), "{found:?}");
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

    #[test]
    fn phrases_of_other_languages() {
        for (text, wanted) in [
            (
                "Мэр города — Тамсин Оррел. Фабрика делает меха для аккордеонов с 1911 года.",
                "Тамсин Оррел",
            ),
            (
                "Die Straßenbahn fährt seit 1911 vom Hafen zum Bahnhof. Der Direktor heißt Ümit Größl.",
                "1911",
            ),
            ("该镇建于1387年。镇长是谭欣·奥雷尔。", "谭欣·奥雷尔"),
            (
                "町長はタムシン・オレルです。工場はふいごを作ります。",
                "タムシン・オレル",
            ),
            (
                "시장은 탐신 오렐입니다. 공장은 1911년에 문을 열었습니다.",
                "시장",
            ),
            ("นายกเทศมนตรีคือทัมซิน มีประชากร6214คน", "6214"),
        ] {
            let passage = Passage {
                title: "X".into(),
                text: text.into(),
            };
            let found: Vec<&str> = phrases(&passage, 10).iter().map(|p| p.text).collect();
            assert!(found.iter().any(|f| f.contains(wanted)), "{found:?}");
        }
    }
}
