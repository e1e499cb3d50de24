//! Prediction by vote: a question is asked in several views and each view is answered greedily. The answers are
//! mapped back to the plain view and counted. The two answers with the most votes are the two attempts.

use super::augment::{Colours, Transform};
use super::serialise;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{Adapter, ModelError, Prompt, Sampling};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// A question in one view.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    pub prompt: Prompt,
    pub undo: Undo,
}

/// The way back from a view: maps its answer to an answer to the plain question.
#[derive(Debug, Clone, PartialEq)]
pub enum Undo {
    Grid(Transform, Colours),
    Text,
}

/// The answers to one test input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AdaptPrediction)]
pub struct Prediction {
    /// At most two different answers, most votes first; empty if no answer could be read
    pub attempts: Vec<Attempt>,
    /// Number of views that the input was asked in; 0 if the time budget left none
    pub views: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AdaptAttempt)]
pub struct Attempt {
    /// A grid or a text, like the outputs of the demonstrations
    #[schema(value_type = Object)]
    pub output: Value,
    /// Number of views with this answer
    pub votes: usize,
}

impl Prediction {
    /// Of an input that there was no time to ask about.
    pub fn none() -> Self {
        Prediction {
            attempts: Vec::new(),
            views: 0,
        }
    }
}

impl Question {
    /// Maps an answer to the plain question's answer; `None` if the text cannot be read as an answer.
    pub fn read(&self, said: &str) -> Option<Value> {
        match &self.undo {
            Undo::Grid(transform, colours) => {
                let grid = transform.invert(&serialise::read(said)?)?;
                serde_json::to_value(colours.invert(&grid)).ok()
            }
            Undo::Text => Some(Value::from(said.trim())).filter(|text| text != ""),
        }
    }
}

/// Asks every input (`[input][view]`) in all its views, in one batch. `longest_answer`: tokens of an answer at most.
/// One prediction per input.
pub fn predict(
    model: Interruptible<'_>,
    adapter: Option<&Adapter>,
    inputs: &[Vec<Question>],
    longest_answer: usize,
) -> Result<Vec<Prediction>, ModelError> {
    let prompts: Vec<Prompt> = inputs.iter().flatten().map(|q| q.prompt.clone()).collect();
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
    let said = model.generate(&prompts, adapter, &Sampling::greedy(longest_answer))?;
    let mut said = said
        .into_iter()
        .map(|n| n.into_iter().next().unwrap_or_default());
    let answer = |questions: &Vec<Question>| {
        let answers = questions.iter().zip(said.by_ref());
        vote(answers.map(|(q, said)| q.read(&said)).collect())
    };
    Ok(inputs.iter().map(answer).collect())
}

/// Counts equal answers. Most votes come first; among equals the answer of the plainer view.
fn vote(answers: Vec<Option<Value>>) -> Prediction {
    let views = answers.len();
    let mut attempts: Vec<Attempt> = Vec::new();
    for output in answers.into_iter().flatten() {
        match attempts.iter_mut().find(|a| a.output == output) {
            Some(attempt) => attempt.votes += 1,
            None => attempts.push(Attempt { output, votes: 1 }),
        }
    }
    attempts.sort_by_key(|a| std::cmp::Reverse(a.votes));
    attempts.truncate(2);
    Prediction { attempts, views }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_two_most_frequent_answers_are_the_attempts() {
        let said = ["b", "a", "c", "a", "c", "d"].map(|s| Some(json!(s)));
        let mut said = said.to_vec();
        said.push(None);
        let prediction = vote(said);
        let attempts: Vec<_> = (prediction.attempts.iter())
            .map(|a| (a.output.as_str().unwrap(), a.votes))
            .collect();
        // a precedes c, because an earlier view said a.
        assert_eq!(attempts, [("a", 2), ("c", 2)]);
        assert_eq!(prediction.views, 7);
        assert_eq!(vote(vec![None, None]).attempts, []);
    }

    #[test]
    fn what_is_no_grid_is_no_answer() {
        let question = Question {
            prompt: Prompt::default(),
            undo: Undo::Grid(Transform::Rotate(1), Colours::same()),
        };
        assert_eq!(
            question.read("41\n52\n63"),
            Some(json!([[1, 2, 3], [4, 5, 6]]))
        );
        assert_eq!(question.read("I think 12"), None);
    }
}
