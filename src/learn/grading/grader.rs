//! Is an answer right? The graders over words, in any language. The one that asks a model is in [`super::judge`].
//!
//! `exact` and `token_f1` are SQuAD's scores ([`crate::text::squad`]). `contains` and `recall` compare
//! [`crate::text::words`]: hyphens and apostrophes in either reading, numbers as numbers with their units.

use crate::text::articles::{are_english, evidence};
use crate::text::normal::normal;
use crate::text::scan::Hyphens;
use crate::text::squad;
use crate::text::words::{Line, in_common};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Grader {
    /// The answer is the gold answer.
    Exact,
    /// The gold answer stands in the answer, word for word.
    Contains,
    /// At least 80 % of the gold answer's words stand in the answer: agrees best with people
    /// (measured by `autodidact grade`).
    #[default]
    Recall,
    /// SQuAD's F1 over words is at least 0.5. Against recall it also wants the answer short: a right
    /// answer in a long sentence is wrong.
    TokenF1,
    /// A model reads question, gold answer and answer, and says yes or no. An exact answer is right
    /// without asking. Needs a model under `[judge]` in the configuration.
    Judge,
}

/// Share of the gold words that [`Grader::Recall`] asks for.
const RECALL_NEEDED: f32 = 0.8;
/// The F1 that [`Grader::TokenF1`] asks for.
const F1_NEEDED: f32 = 0.5;

impl Grader {
    /// Those that need no model.
    pub const OVER_WORDS: [Grader; 4] = [
        Grader::Exact,
        Grader::Contains,
        Grader::Recall,
        Grader::TokenF1,
    ];

    /// Right by the words alone. Of the judge that is only what needs no judging, an exact answer: the
    /// rest is asked in [`super::judge`].
    pub fn correct(self, gold: &str, answer: &str) -> bool {
        match self {
            Grader::Exact | Grader::Judge => {
                let (gold, answer) = squad_words(gold, answer);
                !gold.is_empty() && gold == answer
            }
            Grader::TokenF1 => {
                let (gold, answer) = squad_words(gold, answer);
                f1(&gold, &answer) >= F1_NEEDED
            }
            Grader::Contains => Words::new(answer).contain(&Words::new(gold)),
            Grader::Recall => in_either_reading(&Words::new(gold), &Words::new(answer), recalled),
        }
    }
}

/// The words of both as SQuAD counts them.
fn squad_words(gold: &str, answer: &str) -> (Vec<String>, Vec<String>) {
    let [mut words, mut given] = [gold, answer].map(squad::words);
    let is_article = |word: &String| squad::is_article(word);
    if !words.iter().all(is_article) && are_english([gold, answer].map(evidence)) {
        words.retain(|word| !is_article(word));
        given.retain(|word| !is_article(word));
    }
    (words, given)
}

/// A text made ready for [`Grader::Contains`], which is worth it for a text that is compared with many.
pub struct Words {
    /// With words like `e-mail` read as two and as one.
    readings: [Reading; 2],
    /// How much the text speaks for English.
    english: Option<i32>,
}

struct Reading {
    line: Line,
    without_articles: Line,
}

impl Words {
    pub fn new(text: &str) -> Words {
        let normal = normal(text);
        let reading = |hyphens| {
            let line = Line::of_normal(&normal, hyphens);
            let without_articles = line.without_articles();
            Reading {
                line,
                without_articles,
            }
        };
        Words {
            readings: [Hyphens::Split, Hyphens::Joined].map(reading),
            english: evidence(text),
        }
    }

    /// Whether the gold answer stands in this text, word for word.
    pub fn contain(&self, gold: &Words) -> bool {
        in_either_reading(gold, self, |gold, answer| answer.contains(gold))
    }
}

/// Whether `right` holds in one of the readings. Articles are left out of the comparison, unless the gold answer is one:
/// "A" may be a grade.
fn in_either_reading(gold: &Words, answer: &Words, right: impl Fn(&Line, &Line) -> bool) -> bool {
    let english = are_english([gold.english, answer.english]);
    let mut both = gold.readings.iter().zip(&answer.readings);
    both.any(|(gold, answer)| {
        let (gold, answer) = match english && !gold.without_articles.is_empty() {
            true => (&gold.without_articles, &answer.without_articles),
            false => (&gold.line, &answer.line),
        };
        !gold.is_empty() && !contradicts(gold, answer) && right(gold, answer)
    })
}

/// At least [`RECALL_NEEDED`] of the gold words stand in the answer, in any order.
fn recalled(gold: &Line, answer: &Line) -> bool {
    let words: Vec<&str> = gold.words().collect();
    let found = in_common(&words, &answer.words().collect::<Vec<_>>());
    answer.contains(gold) || found as f32 >= RECALL_NEEDED * words.len() as f32
}

/// The answer has a number of the gold answer in another unit only: 40 m for 40 km.
fn contradicts(gold: &Line, answer: &Line) -> bool {
    let given = answer.quantities();
    gold.quantities().iter().any(|(number, unit)| {
        let mut same = given.iter().filter(|(n, _)| n == number).peekable();
        let other = |(_, given): &(&str, Option<&str>)| given.is_some() && given != unit;
        unit.is_some() && same.peek().is_some() && same.all(other)
    })
}

/// Harmonic mean of precision and recall over words (SQuAD's F1).
fn f1(gold: &[String], answer: &[String]) -> f32 {
    match in_common(gold, answer) as f32 {
        0.0 => 0.0,
        common => 2.0 * common / (gold.len() + answer.len()) as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_wants_whole_words_in_order() {
        assert!(Grader::Contains.correct("blue whale", "It is the blue whale, I think."));
        assert!(!Grader::Contains.correct("14", "It was in 1914."));
        assert!(!Grader::Contains.correct("blue whale", "The whale is blue."));
    }

    #[test]
    fn recall_counts_repeated_words_once_each() {
        assert!(Grader::Recall.correct("blue whale", "The whale is blue."));
        assert!(!Grader::Recall.correct("new new york city", "new york city"));
        assert!(!Grader::Recall.correct("", "anything"));
    }

    /// The scores of the official evaluation, recorded by bench/peers/record_squad.py; `AUTODIDACT_SQUAD_SCORES`
    /// names a file of other pairs to compare.
    #[test]
    fn exact_and_f1_are_squads() {
        #[derive(serde::Deserialize)]
        struct Scored {
            gold: String,
            answer: String,
            exact: bool,
            f1: f32,
        }
        let text = match std::env::var("AUTODIDACT_SQUAD_SCORES") {
            Ok(path) => std::fs::read_to_string(path).unwrap(),
            Err(_) => include_str!("../../../tests/fixtures/squad_scores.json").to_owned(),
        };
        let scored: Vec<Scored> = serde_json::from_str(&text).unwrap();
        assert!(scored.len() > 300);
        let agrees = |s: &&Scored| {
            let (gold, answer) = squad_words(&s.gold, &s.answer);
            (gold == answer) == s.exact && (f1(&gold, &answer) - s.f1).abs() < 1e-3
        };
        let differs: Vec<_> = scored.iter().filter(|s| !agrees(s)).collect();
        for s in &differs {
            let (gold, answer) = squad_words(&s.gold, &s.answer);
            println!("{gold:?} {answer:?} official: {} {}", s.exact, s.f1);
        }
        assert!(differs.is_empty(), "{} of {}", differs.len(), scored.len());
    }

    #[test]
    fn f1_of_known_pairs() {
        let f1 = |gold: &str, answer: &str| {
            let (gold, answer) = squad_words(gold, answer);
            f1(&gold, &answer)
        };
        assert_eq!(f1("a b c", "b c"), 1.0); // "a" is an article
        assert!((f1("red green", "green blue grey") - 0.4).abs() < 1e-6);
        assert_eq!(f1("red", "blue"), 0.0);
    }

    #[test]
    fn token_f1_forgives_a_missing_word_and_no_long_answer() {
        let grader: Grader = serde_json::from_str("\"token_f1\"").unwrap();
        assert!(grader.correct("blue whale", "whale"));
        assert!(grader.correct("blue whale", "It is the blue whale, yes"));
        assert!(!grader.correct("blue whale", "It is a blue whale that swims past the pier"));
        assert!(!grader.correct("", ""));
    }

    /// Gold answer, answer, and whether a fair reader calls the answer right.
    const READ: [(&str, &str, bool); 62] = [
        ("1387年", "该镇建于1387年。", true),
        ("谭欣·奥雷尔", "镇长是谭欣·奥雷尔。", true),
        ("ทัมซิน", "นายกเทศมนตรีคือทัมซิน", true),
        ("“Blue Whale”", "The ship is called Blue Whale.", true),
        ("1914–1918", "It lasted 1914-1918.", true),
        ("«Аврора»", "Крейсер Аврора.", true),
        ("Cafe\u{301} Noir", "Café Noir", true),
        ("Well…", "Well", true),
        ("تمسين أوريل", "تمسين أوريل؟", true),
        ("أوريل", "هي تمسين أوريل، رئيسة البلدية", true),
        ("fer\u{ad}ry", "ferry", true),
        ("fer\u{200b}ry", "ferry", true),
        ("4\u{a0}200", "4 200", true),
        ("１３８７", "1387", true),
        ("5 %", "5%", true),
        ("U.S.", "US", true),
        ("Tamsin Orrel", "The mayor is Tamsin Orrel.", true),
        ("1.5 million", "15 million", false),
        ("-7", "7", false),
        ("7:30", "730", false),
        ("40 km", "40 m", false),
        // More of the same kinds.
        ("オレル", "町長はオレルです。", true),
        ("タムシン・オレル", "町長はタムシンオレルです", true),
        ("京都", "東京都です。", false),
        ("탐신 오렐", "시장은 탐신 오렐입니다.", true),
        ("तमसिन ओरेल", "मेयर तमसिन ओरेल हैं।", true),
        ("„Morgenröte“", "Das Schiff heißt Morgenröte.", true),
        ("3.5 km", "35 km", false),
        ("3.5 km", "It is 3,5 kilometres long.", true),
        ("1,548", "There are 1548 of them.", true),
        ("1,548", "1.548", false),
        ("-5", "minus 5 degrees", true),
        ("-5 °C", "–5 °C", true),
        ("5", "-5", false),
        ("1.5 million", "1,500,000", true),
        ("٧٠٩", "709", true),
        ("$40", "€40", false),
        ("$40", "40 dollars", true),
        ("5 %", "5 km", false),
        ("10²", "102", false),
        ("e-mail", "an email", true),
        ("blue-green", "It is blue green.", true),
        ("O’Neill", "Captain O'Neill", true),
        ("Ann's boat", "Ann’s boat", true),
        ("7 p.m.", "at 7pm", true),
        ("STRASSE", "Straße", true),
        ("A", "The grade was A.", true),
        ("il a dit", "elle dit il a dit oui", true),
        ("1911", "the 1911s", false),
        ("40 km", "40 km, not 40 m", true),
        // The sign for per cent, and those that are like it.
        ("5 %", "٥٪", true),
        ("5 %", "Es sind ５％.", true),
        ("5 %", "It is 5 per cent.", true),
        ("5 %", "It is 5 percent.", true),
        ("5 per cent", "It is 5 %.", true),
        ("5 percent", "نسبة ٥٪ منها", true),
        ("5 %", "Oran %5 oldu.", true),
        ("5 %", "5パーセントです。", true),
        ("5 ‰", "It is 5 per mille.", true),
        ("5 ‰", "5 %", false),
        ("5 per cent", "5 ‰", false),
        ("5 %", "It is 6 per cent.", false),
    ];

    #[test]
    fn a_fair_reader_agrees() {
        for (gold, answer, right) in READ {
            for grader in [Grader::Contains, Grader::Recall] {
                assert_eq!(
                    grader.correct(gold, answer),
                    right,
                    "{grader:?}: {gold} | {answer}"
                );
            }
            if !right {
                assert!(!Grader::Exact.correct(gold, answer), "{gold} | {answer}");
            }
        }
    }
}
