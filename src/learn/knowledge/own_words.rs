//! The questions of a self-edit, answered in the writer's own words with the passage in sight.
//!
//! A pair's answer is a whole sentence of the passage, which the model learns to recite. An answer of its own takes up the
//! words of the question and says only what was asked: it teaches the same fact in the form in which it will be asked for.

use super::author::Author;
use super::closed_book::{ANSWER_TOKENS, ask_open_book};
use super::pairs::{Pair, tokens_of};
use super::self_edit::in_its_language;
use super::{Passage, Question};
use crate::learn::grading::grader::Grader;
use crate::learn::ports::model::{ModelError, Prompt, Sampling};
use crate::text::language::Language;
use crate::text::scan::Hyphens;
use crate::text::script::is_like;
use crate::text::sentences::is_ended;
use crate::text::words::{Line, count, words};
use std::collections::HashSet;

/// Longest answer that may end without a full stop, words; a longer one was cut off.
const LONGEST_PHRASE: usize = 8;

/// For each list of pairs the questions with the writer's own answers. An answer without the pair's phrase is wrong, or
/// answers another question than was meant: it is left out. Where the question names the phrase, an answer that adds
/// nothing of the sentence is left out. So is an answer with a number that neither passage, title nor question has.
pub fn answer(
    author: Author<'_>,
    passage: &Passage,
    samples: &[Vec<Pair<'_>>],
) -> Result<Vec<Vec<Question>>, ModelError> {
    let wish = in_its_language(passage);
    let prompt = |pair: &Pair<'_>| Prompt {
        system: (!wish.is_empty()).then(|| wish.trim().to_owned()),
        ..ask_open_book(passage, &pair.question)
    };
    let prompts: Vec<Prompt> = samples.iter().flatten().map(prompt).collect();
    if prompts.is_empty() {
        return Ok(vec![Vec::new(); samples.len()]);
    }
    let answers = author.generate(
        &prompts,
        &Sampling::greedy(tokens_of(passage, ANSWER_TOKENS)),
    )?;
    let mut answers = (answers.into_iter()).map(|of| of.into_iter().next().unwrap_or_default());
    let told = numbers(&format!("{}\n{}", passage.title, passage.text));
    let own = |pairs: &Vec<Pair<'_>>| {
        let answered = pairs.iter().zip(answers.by_ref());
        let own = answered.filter_map(|(pair, answer)| kept(passage, &told, pair, &answer));
        own.collect()
    };
    Ok(samples.iter().map(own).collect())
}

/// The question with its answer, if the answer is to be learned. `told`: the numbers of title and passage; what small
/// models add to an answer is a date, mostly.
fn kept(
    passage: &Passage,
    told: &HashSet<String>,
    pair: &Pair<'_>,
    answer: &str,
) -> Option<Question> {
    let answer = answer.trim();
    let whole = !answer.contains('\n') && (is_ended(answer) || count(answer) <= LONGEST_PHRASE);
    let right = match pair.names_its_phrase() {
        true => adds_to_the_question(pair, answer),
        false => Grader::Contains.correct(pair.phrase.text, answer),
    };
    let asked = numbers(&pair.question);
    let mut said = numbers(answer).into_iter();
    let true_to_it =
        said.all(|n| told.contains(&n) || asked.contains(&n)) && is_like(answer, &passage.text);
    (whole && right && true_to_it).then(|| Question {
        question: pair.question.clone(),
        answer: answer.to_owned(),
    })
}

/// Whether the answer has a telling word of the sentence that the question has not.
fn adds_to_the_question(pair: &Pair<'_>, answer: &str) -> bool {
    let language = Language::of(pair.phrase.sentence).unwrap_or(Language::ENGLISH);
    let (sentence, asked) = (words(pair.phrase.sentence), words(&pair.question));
    words(answer).iter().any(|word| {
        !language.is_function_word(word) && sentence.contains(word) && !asked.contains(word)
    })
}

/// The numbers of a text, in normal form.
fn numbers(text: &str) -> HashSet<String> {
    let line = Line::new(text, Hyphens::Split);
    line.numbers().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::knowledge::phrases::Phrase;
    use crate::learn::ports::interruptible::Interruptible;
    use crate::learn::scripted::ScriptedModel;

    const SENTENCE: &str =
        "The oskavy dough is made of chestnut flour and rests for ninety minutes.";

    #[test]
    fn answers_with_the_phrase_are_kept_and_all_are_asked_at_once() {
        let model = ScriptedModel::default().answering(|prompt, _| {
            let (before, question) = prompt.user.rsplit_once("Question: ").unwrap();
            assert!(before.contains(SENTENCE));
            match question {
                "Which flour?" => " Oskavy are made of chestnut flour. ",
                "How long?" => "Ninety minutes",
                "What for?" => "The dough rests for an hour.",
                "Since when?" => "The dough rests for ninety minutes since 1949.",
                "What of the chestnut flour?" => "The chestnut flour makes the dough.",
                "And chestnut flour?" => "It is chestnut flour.",
                "What else?" => "Ninety minutes.\nThat is long.",
                _ => "The dough of oskavy is made of chestnut flour and then it rests for ninety",
            }
            .to_owned()
        });
        let passage = Passage {
            title: "Oskavy".into(),
            text: SENTENCE.into(),
        };
        let pair = |question: &str, text| Pair {
            question: question.into(),
            phrase: Phrase {
                sentence: SENTENCE,
                text,
            },
        };
        let samples = [
            vec![
                pair("Which flour?", "chestnut flour"),
                pair("What for?", "ninety minutes"),
            ],
            vec![
                pair("What else?", "ninety minutes"),
                pair("How long?", "ninety minutes"),
                pair("Since when?", "ninety minutes"),
                pair("Cut off?", "ninety"),
                pair("What of the chestnut flour?", "chestnut flour"),
                pair("And chestnut flour?", "chestnut flour"),
            ],
        ];
        let watch = || false;
        let author = Author::policy(Interruptible::new(&model, &watch), None);
        let own = answer(author, &passage, &samples).unwrap();
        let said = |sample: usize| -> Vec<[&str; 2]> {
            let of = own[sample].iter();
            of.map(|q| [q.question.as_str(), q.answer.as_str()])
                .collect()
        };
        assert_eq!(
            said(0),
            [["Which flour?", "Oskavy are made of chestnut flour."]]
        );
        // A question that names its phrase is answered if the answer adds something.
        let named = [
            "What of the chestnut flour?",
            "The chestnut flour makes the dough.",
        ];
        assert_eq!(said(1), [["How long?", "Ninety minutes"], named]);
        assert_eq!(model.calls(), ["generate"]);
        assert_eq!(answer(author, &passage, &[vec![]]).unwrap(), [vec![]]);
    }
}
