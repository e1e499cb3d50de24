//! Tasks with known answers, for practice and for measurement: the context gives a prompt
//! ([`super::self_edit::prompt`]), a candidate gives a training, and the trained adapter gets a score.
//!
//! The reward is 1 if every test input is answered right in one of its two attempts (ARC's own rule), else 0.

use super::predict::{Attempt, Prediction, predict};
use super::self_edit::SelfEdit;
use super::task::{Task, TaskInput};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{Adapter, ModelError, Training, Update};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A task with the right answers to its test inputs, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Solved {
    pub name: String,
    pub task: Task,
    pub solutions: Vec<Value>,
}

/// The settings that all candidates of one comparison share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The most training sequences of a candidate.
    pub sequences: usize,
    /// The most views of a test input.
    pub views: usize,
    pub rank: usize,
    pub alpha: f32,
    pub batch_size: usize,
    pub seed: u64,
    /// Length of the context window, in tokens.
    pub window: usize,
}

/// The training of a configuration, for [`crate::learn::ports::model::Model::train`]. With `init` the training
/// continues that adapter and keeps its rank and alpha.
pub fn training(task: &Task, edit: &SelfEdit, init: Option<&Adapter>, s: &Setting) -> Training {
    let shape = init.map(|adapter| &adapter.0.config);
    Training {
        texts: task.training(edit, None, s.sequences, s.window, s.seed),
        update: Update {
            rank: shape.map_or(s.rank, |c| c.rank),
            alpha: shape.map_or(s.alpha, |c| c.alpha),
            learning_rate: edit.training.learning_rate,
            epochs: edit.training.num_train_epochs,
            batch_size: s.batch_size,
            seed: s.seed,
            upper_layers: None,
            kept_ranks: 0,
            early_stop: None,
            lora_plus: 1.0,
        },
        init: init.cloned(),
    }
}

/// The predictions of the adapter for all test inputs; `None`: of the base.
pub fn answers(
    model: Interruptible<'_>,
    adapter: Option<&Adapter>,
    task: &Task,
    edit: &SelfEdit,
    s: &Setting,
) -> Result<Vec<Prediction>, ModelError> {
    let questions = (0..task.test_len())
        .map(|n| task.questions(TaskInput::Test(n), edit, s.views, s.window, s.seed))
        .collect::<Vec<_>>();
    predict(model, adapter, &questions, task.longest_answer())
}

/// The right attempt among those at one test input, if there is one.
fn right<'a>(solved: &Solved, prediction: &'a Prediction, wanted: &Value) -> Option<&'a Attempt> {
    let mut attempts = prediction.attempts.iter();
    attempts.find(|attempt| solved.task.same(&attempt.output, wanted))
}

/// 1 if every test input has a right attempt, else 0. A task without solutions is never right.
pub fn reward(solved: &Solved, predictions: &[Prediction]) -> f32 {
    let asked = !solved.solutions.is_empty() && predictions.len() == solved.solutions.len();
    let mut pairs = predictions.iter().zip(&solved.solutions);
    let all = asked && pairs.all(|(p, wanted)| right(solved, p, wanted).is_some());
    f32::from(u8::from(all))
}

/// The share of all views that gave the right answer, 0 to 1. Views count only where the right answer is one of the
/// two attempts.
pub fn right_views(solved: &Solved, predictions: &[Prediction]) -> f32 {
    let pairs = predictions.iter().zip(&solved.solutions);
    let right = pairs.filter_map(|(p, wanted)| right(solved, p, wanted));
    let votes: usize = right.map(|attempt| attempt.votes).sum();
    let views: usize = predictions.iter().map(|p| p.views).sum();
    votes as f32 / views.max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::fewshot::task::FewShot;
    use serde_json::json;

    #[test]
    fn only_a_whole_task_is_rewarded() {
        let solved = Solved {
            name: "t".into(),
            task: Task::Text(FewShot {
                train: Vec::new(),
                test: vec!["a".into(), "b".into()],
            }),
            solutions: vec![json!("1"), json!("2")],
        };
        let said = |answers: &[&str]| Prediction {
            attempts: (answers.iter())
                .map(|a| Attempt {
                    output: json!(a),
                    votes: 1,
                })
                .collect(),
            views: 2,
        };
        let of = |first: &[&str], second: &[&str]| reward(&solved, &[said(first), said(second)]);
        assert_eq!(of(&["1"], &["x", "2"]), 1.0);
        assert_eq!(of(&["1"], &["x", "y"]), 0.0);
        assert_eq!(of(&["1"], &[]), 0.0);
        assert_eq!(reward(&solved, &[said(&["1"])]), 0.0);
        // Each prediction has two views, and each attempt has one of their votes.
        let views =
            |first: &[&str], second: &[&str]| right_views(&solved, &[said(first), said(second)]);
        assert_eq!(views(&["1"], &["x", "2"]), 0.5);
        assert_eq!(views(&["1"], &[]), 0.25);
        assert_eq!(right_views(&solved, &[]), 0.0);
    }
}
