//! Is an answer right? The graders over words, all on SQuAD's normalisation: lower case, no punctuation,
//! no articles, single spaces; and against it, no possessive 's (Ann's = Ann). The one that asks a model
//! is in [`super::judge`].

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

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
        let (gold, answer) = (words(gold), words(answer));
        if gold.is_empty() {
            return false;
        }
        match self {
            Grader::Exact | Grader::Judge => gold == answer,
            Grader::Contains => answer.windows(gold.len()).any(|w| w == gold),
            Grader::Recall => overlap(&gold, &answer) as f32 >= RECALL_NEEDED * gold.len() as f32,
            Grader::TokenF1 => f1(&gold, &answer) >= F1_NEEDED,
        }
    }
}

/// Harmonic mean of precision and recall over words (SQuAD's F1).
fn f1(gold: &[String], answer: &[String]) -> f32 {
    match overlap(gold, answer) as f32 {
        0.0 => 0.0,
        common => 2.0 * common / (gold.len() + answer.len()) as f32,
    }
}

/// Words after SQuAD's normalisation.
pub fn words(text: &str) -> Vec<String> {
    let possessive = |w: &str| {
        w.strip_suffix("'s")
            .or(w.strip_suffix("’s"))
            .map(str::to_owned)
    };
    text.to_lowercase()
        .split_whitespace()
        .map(|w| possessive(w).unwrap_or_else(|| w.to_owned()))
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_ascii_punctuation())
        .collect::<String>()
        .split_whitespace()
        .filter(|w| !matches!(*w, "a" | "an" | "the"))
        .map(str::to_owned)
        .collect()
}

/// Words the two have in common, counted with repetition.
fn overlap(gold: &[String], answer: &[String]) -> usize {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for w in answer {
        *left.entry(w).or_default() += 1;
    }
    gold.iter()
        .filter(|w| match left.get_mut(w.as_str()) {
            Some(n) if *n > 0 => {
                *n -= 1;
                true
            }
            _ => false,
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalisation_is_squads() {
        assert_eq!(words("The  Quick, brown-fox!"), ["quick", "brownfox"]);
        assert_eq!(
            words("Orr's cat, the Venns' dog"),
            ["orr", "cat", "venns", "dog"]
        );
        assert!(Grader::Exact.correct("the 4,200 metres", "4200 metres."));
    }

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

    #[test]
    fn f1_of_known_pairs() {
        let f1 = |gold: &str, answer: &str| f1(&words(gold), &words(answer));
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
}
