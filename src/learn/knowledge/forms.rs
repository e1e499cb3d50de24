//! Other forms of a self-edit's pairs, so that a fact can be used and is not only recited: asked for in few words, asked
//! from its other end, and asked for in an instruction.
//!
//! These forms are templates around the questions and phrases that the model wrote and found. They are English, so they
//! are made for English documents alone, and for those too short to tell their language. Answers in own words, a form that
//! needs no template, are in [`super::own_words`].

use super::pairs::Pair;
use super::{Passage, Question};
use crate::learn::options::self_edit::PairForm;
use crate::text::language::Language;
use crate::text::words::words;
use std::collections::HashSet;

/// Wishes for a short answer, after a question.
const BRIEFLY: [&str; 4] = [
    "Answer in a few words.",
    "Answer in at most three words.",
    "Only the answer, please.",
    "Keep the answer as short as possible.",
];

/// Questions that give the phrase and ask for what it belongs to; `{}` is the phrase.
const ABOUT: [&str; 3] = [
    "What do you know about {}?",
    "What is there to say about {}?",
    "Tell me what you know of {}.",
];

/// Instructions around a question; `{}` is the question.
const INSTRUCTIONS: [&str; 3] = [
    "Write one sentence that answers this for a reader: {}",
    "Write a short note that tells a colleague: {}",
    "Write a one-line message to somebody who asks: {}",
];

/// The pairs in the forms that are templates. `Short`: every second pair that does not name its phrase. `Reversed` and
/// `Instruction`: one pair of each sentence.
pub fn others(passage: &Passage, pairs: &[Pair<'_>], forms: &[PairForm]) -> Vec<Question> {
    let language = Language::of(&passage.text).unwrap_or(Language::ENGLISH);
    if language != Language::ENGLISH {
        return Vec::new();
    }
    let mut others = Vec::new();
    for form in forms {
        others.extend(match form {
            PairForm::OwnWords => Vec::new(),
            PairForm::Short => short(pairs),
            PairForm::Reversed => around(passage, pairs, 0, &ABOUT, |p| p.phrase.text.to_owned()),
            PairForm::Instruction => {
                around(passage, pairs, 1, &INSTRUCTIONS, |p| p.question.clone())
            }
        });
    }
    others
}

fn short(pairs: &[Pair<'_>]) -> Vec<Question> {
    let asking = pairs.iter().filter(|p| !p.names_its_phrase());
    let every_second = asking.step_by(2).zip(BRIEFLY.iter().cycle());
    let short = every_second.map(|(pair, briefly)| Question {
        question: format!("{} {briefly}", pair.question),
        answer: pair.phrase.text.to_owned(),
    });
    short.collect()
}

/// One pair of each sentence, at place `nth` among the sentence's pairs or its last one, asked by turns in the words of
/// `templates`, which `filling` goes into.
fn around(
    passage: &Passage,
    pairs: &[Pair<'_>],
    nth: usize,
    templates: &[&str],
    filling: impl Fn(&Pair<'_>) -> String,
) -> Vec<Question> {
    let mut seen = HashSet::new();
    let sentences = pairs.iter().map(|p| p.phrase.sentence);
    let sentences = sentences.filter(|sentence| seen.insert(*sentence));
    let chosen = sentences.filter_map(|sentence| {
        let mut of_it = pairs.iter().filter(|p| p.phrase.sentence == sentence);
        let last = of_it.clone().count() - 1;
        of_it.nth(nth.min(last))
    });
    let asked = chosen.zip(templates.iter().cycle());
    let asked = asked.map(|(pair, template)| Question {
        question: template.replace("{}", &filling(pair)),
        answer: named(passage, pair.phrase.sentence),
    });
    asked.collect()
}

/// The sentence, with the title before it unless the sentence names the title itself.
fn named(passage: &Passage, sentence: &str) -> String {
    let said = words(sentence);
    match words(&passage.title).iter().all(|word| said.contains(word)) {
        true => sentence.to_owned(),
        false => format!("{}: {sentence}", passage.title),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::knowledge::phrases::Phrase;

    const FLAG: &str = "The flag of Ostrel Bay shows a heron holding a spoon.";
    const MASTER: &str = "The harbour master is Leocadia Finch.";

    fn pair<'a>(question: &str, sentence: &'a str, text: &'a str) -> Pair<'a> {
        Pair {
            question: question.into(),
            phrase: Phrase { sentence, text },
        }
    }

    fn passage(text: &str) -> Passage {
        Passage {
            title: "Ostrel Bay".into(),
            text: text.into(),
        }
    }

    #[test]
    fn each_form_asks_in_its_own_way() {
        let passage = passage(&format!("{FLAG} {MASTER}"));
        let pairs = [
            pair("Which bird is on the flag of Ostrel Bay?", FLAG, "heron"),
            pair(
                "Who is the harbour master of Ostrel Bay?",
                MASTER,
                "Leocadia Finch",
            ),
            pair("What does the heron of Ostrel Bay hold?", FLAG, "spoon"),
        ];
        let made = |form| {
            let made = others(&passage, &pairs, &[form]).into_iter();
            made.map(|q| (q.question, q.answer)).collect::<Vec<_>>()
        };
        let owned = |list: &[(&str, &str)]| -> Vec<(String, String)> {
            list.iter()
                .map(|(q, a)| (q.to_string(), a.to_string()))
                .collect()
        };
        let short = [
            (
                "Which bird is on the flag of Ostrel Bay? Answer in a few words.",
                "heron",
            ),
            (
                "What does the heron of Ostrel Bay hold? Answer in at most three words.",
                "spoon",
            ),
        ];
        assert_eq!(made(PairForm::Short), owned(&short));
        let master = format!("Ostrel Bay: {MASTER}");
        let reversed = [
            ("What do you know about heron?", FLAG),
            ("What is there to say about Leocadia Finch?", &master),
        ];
        assert_eq!(made(PairForm::Reversed), owned(&reversed));
        let instructions = [
            (
                "Write one sentence that answers this for a reader: What does the heron of Ostrel Bay hold?",
                FLAG,
            ),
            (
                "Write a short note that tells a colleague: Who is the harbour master of Ostrel Bay?",
                &master,
            ),
        ];
        assert_eq!(made(PairForm::Instruction), owned(&instructions));
        assert!(others(&passage, &pairs, &[]).is_empty());
    }

    #[test]
    fn other_languages_have_their_pairs_alone() {
        let text = "Der Hafenmeister der Stadt heißt Leocadia Finch und führt auch den einzigen Friseurladen.";
        let pairs = [pair("Wie heißt der Hafenmeister?", text, "Leocadia Finch")];
        assert!(others(&passage(text), &pairs, &[PairForm::Short]).is_empty());
    }
}
