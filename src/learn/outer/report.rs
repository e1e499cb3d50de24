//! The report of a run of the outer loop. Each part is stored in the journal and sent as an event when it is finished.

use super::options::{Baseline, OuterOptions, Reward};
use crate::learn::knowledge::closed_book::Answer;
use crate::learn::stats::Estimate;
use serde::{Deserialize, Serialize};

/// One training on one self-edit, with the trained adapter's answers to the queries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub seed: u64,
    pub epochs: usize,
    pub answers: Vec<Answer>,
    /// Tokens trained on, over all epochs.
    pub tokens: usize,
    /// Seconds of training and asking: an equal share of its pack's time.
    pub seconds: f32,
    /// Loss of the last optimizer step, nats a token.
    pub loss: Option<f32>,
}

impl Trial {
    /// Adds the costs of the first part to this trial, which was the second part of the same training.
    pub fn goes_on_from(&mut self, first: &Trial) {
        self.epochs += first.epochs;
        self.tokens += first.tokens;
        self.seconds += first.seconds;
    }
}

/// One sampled self-edit with its reward and the figures that the reward is computed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub round: usize,
    pub context: usize,
    pub title: String,
    pub candidate: usize,
    /// The seed that the self-edit was sampled from; each trial has a seed of its own.
    pub seed: u64,
    /// The reward of the run's kind, which decides whether the self-edit is kept.
    pub reward: f32,
    pub accuracy_gain: Option<f32>,
    /// Nats a token.
    pub likelihood_gain: Option<f32>,
    /// Gain in expected accuracy, if answers were sampled.
    #[serde(default)]
    pub expected_gain: Option<f32>,
    /// The base's mark, 0 to 1, if the reward is the rubric.
    pub rubric: Option<f32>,
    /// Whether successive halving dropped the candidate after the first part, by which its reward is then computed.
    pub dropped: bool,
    /// The candidate's trials, one per repeat.
    pub repeats: Vec<Repeat>,
    /// The trials of learning the context alone, if these are the baseline of the gains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alone: Vec<Repeat>,
    pub seconds: f32,
}

/// The figures of one trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    pub seed: u64,
    pub epochs: usize,
    pub right: usize,
    pub queries: usize,
    /// Mean log-likelihood of the gold answers, nats a token.
    pub logprob: f32,
    /// Expected accuracy, if answers were sampled.
    #[serde(default)]
    pub expected: Option<f32>,
}

/// The policy's score on held-out contexts, which it practised on neither in this run nor in an earlier one: the gain
/// of learning from its self-edits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Mean gain in accuracy; the interval comes from resampling contexts.
    pub gain: Estimate,
    pub accuracy_before: f32,
    pub accuracy_after: f32,
    /// Nats a token.
    pub likelihood_gain: f32,
    pub contexts: usize,
    pub seconds: f32,
    /// The score of each context.
    pub scores: Vec<HeldOutScore>,
}

/// The score on one held-out context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutScore {
    pub context: usize,
    pub title: String,
    pub seed: u64,
    /// Right answers before learning.
    pub before: usize,
    /// Right answers after learning.
    pub after: usize,
    pub queries: usize,
    /// Nats a token.
    pub likelihood_gain: f32,
    /// Seconds of the trial.
    #[serde(default)]
    pub seconds: f32,
}

/// One round of the outer loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The number of the round, from 1.
    pub round: usize,
    pub reward_kind: Reward,
    /// The baseline of the candidates' gains.
    #[serde(default)]
    pub baseline: Baseline,
    pub contexts: Vec<usize>,
    /// Mean reward of all candidates.
    pub reward: f32,
    /// Mean reward of the best candidate of each context.
    pub best_reward: f32,
    /// The reliability of a single repeat's reward (ICC(3,1)): the share of the variance within a context that lies
    /// between candidates. `None` with fewer than two repeats.
    pub reliability: Option<f32>,
    pub candidates: Vec<Candidate>,
    /// (context, candidate) of the self-edits that the policy was fine-tuned on.
    pub kept: Vec<(usize, usize)>,
    pub policy: Option<PolicyUpdate>,
    pub held_out: Option<HeldOut>,
}

/// The figures of the policy's fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyUpdate {
    pub seed: u64,
    pub sequences: usize,
    pub tokens: usize,
    /// Loss of the first optimizer step, nats a token.
    pub loss_first: Option<f32>,
    /// Loss of the last optimizer step, nats a token.
    pub loss_last: Option<f32>,
    pub seconds: f32,
}

/// The report of the whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The indices of the held-out contexts.
    pub held_out_contexts: Vec<usize>,
    /// The indices of contexts without queries.
    pub unusable_contexts: Vec<usize>,
    /// The score of the initial policy.
    pub before: Option<HeldOut>,
    pub rounds: Vec<Round>,
}

impl Report {
    /// Sentences about the run's gaps: no held-out contexts, too few contexts, rounds that kept no self-edit.
    pub fn notes(&self, options: &OuterOptions) -> Vec<String> {
        let mut notes = Vec::new();
        if self.before.is_none() {
            notes.push("No context was held out, so no round has a score.".to_owned());
        }
        for round in &self.rounds {
            let (nth, there, wanted) = (
                round.round,
                round.contexts.len(),
                options.contexts_per_round,
            );
            if there < wanted && options.minutes == 0 {
                notes.push(format!(
                    "Round {nth} practised on {there} of the {wanted} contexts asked for: there are no more."
                ));
            }
            if round.kept.is_empty() {
                notes.push(format!(
                    "Round {nth} kept no self-edit, so the policy is unchanged: only a self-edit with a positive \
                     reward and something to teach is kept."
                ));
            }
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::outer::tests::{contexts, options, practise};
    use crate::learn::outer::toy::{Memory, counting};

    #[test]
    fn what_there_was_none_of_is_told_in_sentences() {
        let notes = |options: &OuterOptions| {
            let (model, memory) = (counting(), Memory::default());
            let outcome = practise(&model, &memory, &contexts(), options).unwrap();
            outcome.report.notes(options)
        };
        assert!(notes(&options(|o| o.minutes = 0)).is_empty());
        let few = options(|o| {
            (o.rounds, o.held_out, o.minutes, o.contexts_per_round) = (1, 0, 0, 9);
        });
        assert_eq!(
            notes(&few),
            [
                "No context was held out, so no round has a score.",
                "Round 1 practised on 8 of the 9 contexts asked for: there are no more."
            ]
        );
        let none = Report {
            held_out_contexts: vec![0],
            unusable_contexts: Vec::new(),
            before: None,
            rounds: Vec::new(),
        };
        assert_eq!(none.notes(&few).len(), 1);
    }
}
