//! The test: a question with no passage in sight (closed book), or with it (open book, the ceiling).

use super::{Passage, Question};
use crate::learn::grading::Grader;
use crate::learn::judge::Given;
use crate::learn::model::{Adapter, Interruptible, ModelError, Prompt, Sampling};
use serde::{Deserialize, Serialize};

/// One question, answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Answer {
    pub answer: String,
    pub correct: bool,
    /// Mean log-likelihood of the gold answer, nats a token.
    pub logprob: f32,
}

/// The paper's answer prompt (appendix B.1) as a chat turn.
pub fn ask(title: &str, question: &str) -> Prompt {
    Prompt::user(format!(
        "Answer the question directly and concisely.\nTopic: {title}{QUESTION}{question}"
    ))
}

/// The same question with the passage in sight.
pub fn ask_open_book(passage: &Passage, question: &str) -> Prompt {
    let Passage { title, text } = passage;
    Prompt::user(format!(
        "Read the passage, then answer the question directly and concisely.\n\
         {title}\n{text}\n{QUESTION}{question}"
    ))
}

/// What stands before the question in both prompts, and nowhere after it.
const QUESTION: &str = "\nQuestion: ";

/// The question that a prompt asks, for the judge.
fn question_of(prompt: &Prompt) -> &str {
    let user = &prompt.user;
    user.rsplit_once(QUESTION).map_or(user, |(_, asked)| asked)
}

/// Longest answer, tokens.
pub const ANSWER_TOKENS: usize = 48;

/// Asks all of `items` (prompt, gold) in one batch and grades the answers.
pub fn answer_all(
    model: Interruptible<'_>,
    adapter: Option<&Adapter>,
    items: &[(Prompt, String)],
    grader: Grader,
) -> Result<Vec<Answer>, ModelError> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let prompts: Vec<Prompt> = items.iter().map(|(p, _)| p.clone()).collect();
    let answers = model.generate(&prompts, adapter, &Sampling::greedy(ANSWER_TOKENS))?;
    let answers = answers.into_iter().map(|n| n.into_iter().next());
    let answers: Vec<String> = answers.map(Option::unwrap_or_default).collect();
    let likelihoods = model.likelihood(items, adapter)?;
    let given = items.iter().zip(&answers);
    let given = given.map(|((prompt, gold), answer)| Given {
        question: question_of(prompt),
        gold,
        answer,
    });
    let correct = model.grade(grader, &given.collect::<Vec<_>>())?;
    Ok(answers
        .iter()
        .zip(correct)
        .zip(likelihoods)
        .map(|((answer, correct), logprob)| Answer {
            answer: answer.trim().to_owned(),
            correct,
            logprob,
        })
        .collect())
}

/// `questions` about `title`, closed book, as [`answer_all`] takes them.
pub fn closed_book(title: &str, questions: &[Question]) -> Vec<(Prompt, String)> {
    questions
        .iter()
        .map(|q| (ask(title, &q.question), q.answer.clone()))
        .collect()
}

/// Share of right answers; 0 for none asked.
pub fn accuracy(answers: &[Answer]) -> f32 {
    match answers.len() {
        0 => 0.0,
        n => answers.iter().filter(|a| a.correct).count() as f32 / n as f32,
    }
}

/// Mean log-likelihood of the gold answers.
pub fn mean_logprob(answers: &[Answer]) -> f32 {
    match answers.len() {
        0 => 0.0,
        n => answers.iter().map(|a| a.logprob).sum::<f32>() / n as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_found_in_either_prompt() {
        let passage = Passage {
            title: "Vell".into(),
            text: "A riddle.\nQuestion: what is tall?\nThe tower.".into(),
        };
        let question = "Who asked \"Question: why?\"";
        for prompt in [ask("Vell", question), ask_open_book(&passage, question)] {
            assert_eq!(question_of(&prompt), question);
        }
    }
}
