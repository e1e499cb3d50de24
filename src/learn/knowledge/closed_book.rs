//! The test: a question with no passage in sight (closed book), or with it (open book, the ceiling).

use super::{Passage, Question};
use crate::learn::figures::nan_if_null;
use crate::learn::grading::Grading;
use crate::learn::grading::judge::AnswerToGrade;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{Adapter, ModelError, Prompt, Sampling};
use serde::{Deserialize, Serialize};

/// One question, answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Answer {
    pub answer: String,
    pub correct: bool,
    /// Mean log-likelihood of the gold answer, nats a token.
    #[serde(deserialize_with = "nan_if_null")]
    pub logprob: f32,
    /// Share of right ones among sampled answers, where the reward is `expected`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<f32>,
}

/// The prompt of a closed-book question: the paper's answer prompt (SEAL appendix B.1) as a chat turn.
pub fn ask(title: &str, question: &str) -> Prompt {
    Prompt::user(format!(
        "Answer the question directly and concisely.\nTopic: {title}{QUESTION}{question}"
    ))
}

/// The prompt of the question with the passage in sight.
pub fn ask_open_book(passage: &Passage, question: &str) -> Prompt {
    let Passage { title, text } = passage;
    Prompt::user(format!(
        "Read the passage, then answer the question directly and concisely.\n\
         {title}\n{text}\n{QUESTION}{question}"
    ))
}

/// Stands before the question in both prompts, and nowhere after it.
const QUESTION: &str = "\nQuestion: ";

/// The question that a prompt asks, for the judge.
fn question_of(prompt: &Prompt) -> &str {
    let user = &prompt.user;
    user.rsplit_once(QUESTION).map_or(user, |(_, asked)| asked)
}

/// Longest answer, tokens.
pub const ANSWER_TOKENS: usize = 48;

/// Asks all `items` (prompt, gold answer) in one batch, greedily, and grades the answers: one answer an item.
/// Fails as [`ModelError::Missing`] where the grader is the judge and there is none.
pub fn answer_all<'g>(
    model: Interruptible<'_>,
    adapter: Option<&Adapter>,
    items: &[(Prompt, String)],
    grading: impl Into<Grading<'g>>,
) -> Result<Vec<Answer>, ModelError> {
    answer_in(model, adapter, items, grading, ANSWER_TOKENS)
}

/// As [`answer_all`], with answers of at most `longest` tokens.
pub fn answer_in<'g>(
    model: Interruptible<'_>,
    adapter: Option<&Adapter>,
    items: &[(Prompt, String)],
    grading: impl Into<Grading<'g>>,
    longest: usize,
) -> Result<Vec<Answer>, ModelError> {
    let graded = graded(model, adapter, items, grading, &Sampling::greedy(longest))?;
    let graded = graded.into_iter().filter_map(|of| of.into_iter().next());
    let likelihoods = match items.is_empty() {
        true => Vec::new(),
        false => model.likelihood(items, adapter)?,
    };
    let both = graded.zip(likelihoods);
    Ok(both
        .map(|((answer, correct), logprob)| Answer {
            answer: answer.trim().to_owned(),
            correct,
            logprob,
            expected: None,
        })
        .collect())
}

/// Whether each item is answered right by the most likely answer of at most `longest` tokens, in the order of `items`.
/// The likelihood of the gold answers is not asked.
pub fn right<'g>(
    model: Interruptible<'_>,
    adapter: Option<&Adapter>,
    items: &[(Prompt, String)],
    grading: impl Into<Grading<'g>>,
    longest: usize,
) -> Result<Vec<bool>, ModelError> {
    let graded = graded(model, adapter, items, grading, &Sampling::greedy(longest))?;
    let answers = graded.into_iter().flatten();
    Ok(answers.map(|(_, right)| right).collect())
}

/// `sampling.n` answers to each item, and whether each is right: `[item][sample]`. The likelihood of the gold
/// answers is not asked.
pub fn graded<'g>(
    model: Interruptible<'_>,
    adapter: Option<&Adapter>,
    items: &[(Prompt, String)],
    grading: impl Into<Grading<'g>>,
    sampling: &Sampling,
) -> Result<Vec<Vec<(String, bool)>>, ModelError> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let prompts: Vec<Prompt> = items.iter().map(|(p, _)| p.clone()).collect();
    let answers = model.generate(&prompts, adapter, sampling)?;
    let given = items.iter().zip(&answers).flat_map(|((prompt, gold), of)| {
        of.iter().map(move |answer| AnswerToGrade {
            question: question_of(prompt),
            gold,
            answer,
        })
    });
    let correct = grading
        .into()
        .grade(&given.collect::<Vec<_>>(), model.watch)?;
    let mut correct = correct.into_iter();
    let of_item = |of: Vec<String>| of.into_iter().zip(correct.by_ref()).collect();
    Ok(answers.into_iter().map(of_item).collect())
}

/// Answers sampled to each question for its expected accuracy.
const SAMPLES: usize = 8;
/// The temperature of these samples.
const SAMPLE_TEMPERATURE: f32 = 0.7;

/// The expected accuracy of each item: the share of right answers among [`SAMPLES`] sampled ones. Where two
/// answers are nearly as likely, the greedy answer is a toss-up; the share shows it. Adapters that are asked
/// with one `seed` share the draws.
pub fn expected<'g>(
    model: Interruptible<'_>,
    adapter: Option<&Adapter>,
    items: &[(Prompt, String)],
    grading: impl Into<Grading<'g>>,
    seed: u64,
) -> Result<Vec<f32>, ModelError> {
    let sampling = Sampling {
        temperature: SAMPLE_TEMPERATURE,
        n: SAMPLES,
        seed,
        ..Sampling::greedy(ANSWER_TOKENS)
    };
    let graded = graded(model, adapter, items, grading, &sampling)?;
    let share = |of: &Vec<(String, bool)>| {
        let right = of.iter().filter(|(_, right)| *right);
        right.count() as f32 / of.len().max(1) as f32
    };
    Ok(graded.iter().map(share).collect())
}

/// The items of `questions` about `title`, closed book, for [`answer_all`].
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

/// Mean expected accuracy; an answer without samples counts by its greedy answer.
pub fn mean_expected(answers: &[Answer]) -> f32 {
    let of = |a: &Answer| a.expected.unwrap_or(a.correct as u8 as f32);
    answers.iter().map(of).sum::<f32>() / answers.len().max(1) as f32
}

/// Mean log-likelihood of the gold answers, nats a token; 0 for none asked.
pub fn mean_logprob(answers: &[Answer]) -> f32 {
    match answers.len() {
        0 => 0.0,
        n => answers.iter().map(|a| a.logprob).sum::<f32>() / n as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::grading::grader::Grader;
    use crate::learn::scripted::ScriptedModel;

    #[test]
    fn the_expected_accuracy_is_of_each_questions_own_samples() {
        let asked = [("Who built it?", "Orr Hallam"), ("When?", "1911")];
        let items = asked.map(|(q, gold)| (ask("Vell", q), gold.to_owned()));
        // The first question's answer in three of four samples, and never the second's.
        let unsure = ScriptedModel::default().generating(|_, _, sampling| {
            assert!(sampling.temperature > 0.0);
            assert_eq!(sampling.seed, 5);
            let said = ["Mori", "Orr Hallam", "Orr Hallam", "Orr Hallam"].map(str::to_owned);
            said.iter().cycle().take(sampling.n).cloned().collect()
        });
        let model = Interruptible::new(&unsure, &|| false);
        let shares = expected(model, None, &items, Grader::default(), 5).unwrap();
        assert_eq!(shares, [0.75, 0.0]);
        assert!(
            expected(model, None, &[], Grader::default(), 5)
                .unwrap()
                .is_empty()
        );
        // Expected accuracy needs only generated answers, so no likelihood is computed.
        assert_eq!(unsure.calls(), ["generate"]);
    }

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
