//! Questions about a passage, the answer first: a phrase of the passage is given, the model writes the
//! question that it answers. Small models asked for question and answer at once write the question of
//! the example again; asked this way half of the questions are good, and nearly all of them point at the
//! right sentence.

use super::author::Author;
use super::closed_book::{ANSWER_TOKENS, ask_open_book, right};
use super::examples::{self, Example};
use super::phrases::Phrase;
use super::self_edit::in_its_language;
use super::{Passage, Question};
use crate::learn::grading::grader::Grader;
use crate::learn::options::self_edit::SelfEditOptions;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{ModelError, Prompt, Sampling};
use crate::text::language::Language;
use crate::text::script::{Script, is_like, is_question, main_script};
use crate::text::words::words;
use std::collections::HashSet;

/// A question, the phrase that it was written for and that answers it unless the question names it, and the phrase's
/// sentence.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair<'a> {
    pub question: String,
    pub phrase: Phrase<'a>,
}

impl Pair<'_> {
    /// See [`names`].
    pub fn names_its_phrase(&self) -> bool {
        names(self.phrase.text, &self.question)
    }
}

/// Whether the question itself names the phrase that it was written for. Such a question asks from the other end: the rest
/// of the sentence is its answer.
pub fn names(phrase: &str, question: &str) -> bool {
    Grader::Contains.correct(phrase, question)
}

/// Longest question in Latin letters, tokens.
const QUESTION_TOKENS: usize = 40;

/// `latin` tokens, more for a passage in a script of which models know few pieces.
pub(super) fn tokens_of(passage: &Passage, latin: usize) -> usize {
    match main_script(&passage.text) {
        Some(Script::Latin) | None => latin,
        Some(_) => 3 * latin,
    }
}

/// `options.samples` lists of pairs. Questions that repeat another are dropped.
pub fn write<'a>(
    author: Author<'_>,
    passage: &Passage,
    phrases: &[Phrase<'a>],
    options: &SelfEditOptions,
    seed: u64,
) -> Result<Vec<Vec<Pair<'a>>>, ModelError> {
    let prompts: Vec<Prompt> = phrases.iter().map(|p| prompt(passage, p)).collect();
    let sampling = Sampling {
        temperature: options.temperature,
        top_p: options.top_p,
        max_tokens: tokens_of(passage, QUESTION_TOKENS),
        stop: vec!["\n".into()],
        seed,
        n: options.samples,
        whole_lines: false,
    };
    let written = author.generate(&prompts, &sampling)?;
    let sample = |nth: usize| {
        let questions = written.iter().filter_map(move |n| n.get(nth));
        let pairs = questions
            .zip(phrases)
            .map(|(question, phrase)| Pair {
                question: question.trim().to_owned(),
                phrase: *phrase,
            })
            .filter(|p| is_question(&p.question) && is_like(&p.question, &passage.text));
        once(pairs.collect())
    };
    Ok((0..options.samples).map(sample).collect())
}

/// The pairs, each question once: with the phrase that it asks for, if it was written for another that it names too.
fn once(pairs: Vec<Pair<'_>>) -> Vec<Pair<'_>> {
    let asking = pairs.iter().filter(|p| !p.names_its_phrase());
    let asking: HashSet<Vec<String>> = asking.map(|p| words(&p.question)).collect();
    let mut seen = HashSet::new();
    let mut first = |p: &Pair<'_>| {
        let question = words(&p.question);
        let other = p.names_its_phrase() && asking.contains(&question);
        !other && seen.insert(question)
    };
    pairs.into_iter().filter(|p| first(p)).collect()
}

/// Pairs that the base answers right with the passage in sight, short answers as gold.
pub fn answerable(
    model: Interruptible<'_>,
    passage: &Passage,
    pairs: Vec<Pair>,
) -> Result<Vec<Question>, ModelError> {
    let questions = pairs.into_iter().map(|p| Question {
        question: p.question,
        answer: p.phrase.text.to_owned(),
    });
    let questions: Vec<Question> = questions.collect();
    let items: Vec<(Prompt, String)> = questions
        .iter()
        .map(|p| (ask_open_book(passage, &p.question), p.answer.clone()))
        .collect();
    let right = right(model, None, &items, Grader::Contains, ANSWER_TOKENS)?;
    let kept = questions.into_iter().zip(right).filter(|(_, right)| *right);
    Ok(kept.map(|(question, _)| question).collect())
}

/// The prompt that asks for the question that `phrase` answers.
pub(crate) fn prompt(passage: &Passage, phrase: &Phrase) -> Prompt {
    let turn = |topic: &str, sentence: &str, answer: &str| {
        format!("Topic: {topic}\nSentence: {sentence}\nAnswer: {answer}")
    };
    let example = |e: &Example| {
        let user = turn(e.topic, e.sentence, e.answer);
        (user, e.question.to_owned())
    };
    let examples = examples::of(Language::of(&passage.text));
    Prompt {
        system: Some(format!("{TASK}{}", in_its_language(passage))),
        examples: examples.iter().map(example).collect(),
        user: turn(&passage.title, phrase.sentence, phrase.text),
        ..Default::default()
    }
}

const TASK: &str = "You write exam questions. Given a topic, a sentence and an answer found in the \
    sentence, write the one question that has this answer. Name the topic in the question.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_keeps_the_phrase_that_it_asks_for() {
        let pair = |text| Pair {
            question: "Who built Vell in 1911?".into(),
            phrase: Phrase {
                sentence: "Orr built Vell in 1911.",
                text,
            },
        };
        let kept = once(vec![pair("1911"), pair("Orr"), pair("Orr")]);
        assert_eq!(kept, [pair("Orr")]);
        assert_eq!(once(vec![pair("1911")]), [pair("1911")]);
    }
}
