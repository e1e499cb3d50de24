//! The report of an adaptation, which is the answer of `POST /adapt`.

use super::predict::Prediction;
use super::self_edit::SelfEdit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdaptReport {
    /// One prediction for each test input, in order
    pub predictions: Vec<Prediction>,
    /// The configuration that the adapter was trained with
    pub self_edit: SelfEdit,
    /// Every configuration that was considered
    pub tried: Vec<Tried>,
    /// The score on the held-out demonstrations before training; none if no candidates were compared
    pub in_context: Option<Score>,
    /// The training of the final adapter
    pub training: Training,
    /// Wall-clock seconds by stage
    pub seconds: BTreeMap<String, f32>,
    /// The stages that the time budget ended before their work was done: `candidates`, `training`, `predictions`
    #[serde(default)]
    pub cut_short: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AdaptTried)]
pub struct Tried {
    pub self_edit: SelfEdit,
    pub origin: Origin,
    /// Sequences in each training of the configuration; 0 if there was no time for it
    pub sequences: usize,
    /// Passes over the sequences; 0 if there was no time for it
    pub epochs: usize,
    /// The score on held-out demonstrations; none if no candidates were compared
    pub score: Option<Score>,
    pub chosen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdaptOrigin)]
pub enum Origin {
    /// The caller gave the configuration.
    Given,
    /// The model wrote the configuration.
    Written,
    /// The default configuration, because the model wrote none.
    Default,
}

/// The score on demonstrations that were held out of the training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AdaptScore)]
pub struct Score {
    /// Right answers
    pub right: usize,
    /// Demonstrations asked
    pub of: usize,
    /// Mean log-likelihood of the right answers, nats a token; decides between candidates with equally many right
    /// answers
    pub logprob: f32,
}

impl Score {
    /// The index of the best score: most right answers, then highest log-likelihood, then first.
    pub fn best(scores: &[Score]) -> usize {
        let better = |a: &Score, b: &Score| {
            let more = a.right.cmp(&b.right);
            more.then(a.logprob.total_cmp(&b.logprob))
        };
        let best = (0..scores.len())
            .rev()
            .max_by(|a, b| better(&scores[*a], &scores[*b]));
        best.unwrap_or(0)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AdaptTraining)]
pub struct Training {
    pub sequences: usize,
    pub epochs: usize,
    /// Tokens trained on, over all epochs
    pub tokens: usize,
    /// Optimizer steps done. Fewer than planned if `cut_short` names the training; 0 steps change nothing
    #[serde(default)]
    pub steps: usize,
    /// Loss of the first optimizer step, nats a token
    pub first_loss: f32,
    /// Loss of the last optimizer step, nats a token
    pub last_loss: f32,
}
