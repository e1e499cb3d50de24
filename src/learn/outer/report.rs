//! The report of a run of the outer loop: its parts are remembered, told as events, and given back at the end.

use super::options::{Baseline, OuterOptions, Reward};
use crate::learn::knowledge::closed_book::Answer;
use crate::learn::stats::Estimate;
use serde::{Deserialize, Serialize};

/// One training of one candidate, and the queries asked of its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    pub seed: u64,
    pub epochs: usize,
    pub answers: Vec<Answer>,
    /// Tokens trained on.
    pub tokens: usize,
    /// Its share of the time its pack took, training and asking.
    pub seconds: f32,
    /// Of the last optimizer step.
    pub loss: Option<f32>,
}

impl Trial {
    /// This one was the second part of a training: together they are the whole.
    pub fn goes_on_from(&mut self, first: &Trial) {
        self.epochs += first.epochs;
        self.tokens += first.tokens;
        self.seconds += first.seconds;
    }
}

/// One sampled self-edit with all that its reward is computed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    pub round: usize,
    pub context: usize,
    pub title: String,
    pub candidate: usize,
    /// The self-edit's; its trials have their own.
    pub seed: u64,
    /// What the run keeps by.
    pub reward: f32,
    pub accuracy_gain: Option<f32>,
    pub likelihood_gain: Option<f32>,
    /// In expected accuracy, where answers were sampled.
    #[serde(default)]
    pub expected_gain: Option<f32>,
    /// The base's mark, 0 to 1.
    pub rubric: Option<f32>,
    /// Dropped half-way by successive halving: its reward is that of the first part.
    pub dropped: bool,
    /// Each training from its own seed: (seed, right answers, mean log-likelihood, expected accuracy).
    pub repeats: Vec<Repeat>,
    /// The repeats of learning its context alone, where its gains are counted from those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alone: Vec<Repeat>,
    pub seconds: f32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repeat {
    pub seed: u64,
    pub epochs: usize,
    pub right: usize,
    pub queries: usize,
    pub logprob: f32,
    /// Expected accuracy, where answers were sampled.
    #[serde(default)]
    pub expected: Option<f32>,
}

/// The policy on contexts it never practised on, in this run or an earlier one: what is gained by learning from what it writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Mean gain in accuracy; the interval by resampling contexts.
    pub gain: Estimate,
    pub accuracy_before: f32,
    pub accuracy_after: f32,
    /// Nats a token.
    pub likelihood_gain: f32,
    pub contexts: usize,
    pub seconds: f32,
    /// Every number of it: (context, seed, right before, right after, queries).
    pub scores: Vec<HeldOutScore>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutScore {
    pub context: usize,
    pub title: String,
    pub seed: u64,
    pub before: usize,
    pub after: usize,
    pub queries: usize,
    pub likelihood_gain: f32,
    /// Of its trial.
    #[serde(default)]
    pub seconds: f32,
}

/// One round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// From 1.
    pub round: usize,
    pub reward_kind: Reward,
    /// What its candidates' gains are counted from.
    #[serde(default)]
    pub baseline: Baseline,
    pub contexts: Vec<usize>,
    /// Mean reward of all candidates, and of the best of each context.
    pub reward: f32,
    pub best_reward: f32,
    /// Share of the rewards' variance, within a context, that is between candidates (one repeat's
    /// reliability); needs two repeats.
    pub reliability: Option<f32>,
    pub candidates: Vec<Candidate>,
    /// (context, candidate) of those that the policy learned.
    pub kept: Vec<(usize, usize)>,
    pub policy: Option<PolicyUpdate>,
    pub held_out: Option<HeldOut>,
}

/// The policy's fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyUpdate {
    pub seed: u64,
    pub sequences: usize,
    pub tokens: usize,
    /// Of the first and last optimizer step.
    pub loss_first: Option<f32>,
    pub loss_last: Option<f32>,
    pub seconds: f32,
}

/// The whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Contexts set aside.
    pub held_out_contexts: Vec<usize>,
    /// Contexts that nothing could be asked about.
    pub unusable_contexts: Vec<usize>,
    /// The policy as it was at the start.
    pub before: Option<HeldOut>,
    pub rounds: Vec<Round>,
}

impl Report {
    /// What of that which was asked for there was none of, in sentences.
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
                    "Round {nth} kept nothing, since no self-edit gained: the policy is as it was."
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
