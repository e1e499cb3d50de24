//! What came of an adaptation: what `POST /adapt` answers.

use super::predict::Prediction;
use super::self_edit::SelfEdit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdaptReport {
    /// One for each test input, in order.
    pub predictions: Vec<Prediction>,
    /// The configuration that the adapter was trained with.
    pub self_edit: SelfEdit,
    /// Every configuration that was considered.
    pub tried: Vec<Tried>,
    /// The held-out demonstrations answered without any training, where candidates were compared.
    pub in_context: Option<Score>,
    /// The adapter's own training.
    pub training: Training,
    /// Wall-clock seconds by stage.
    pub seconds: BTreeMap<String, f32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AdaptTried)]
pub struct Tried {
    pub self_edit: SelfEdit,
    pub origin: Origin,
    /// Sequences in each of its trainings, and passes over them; 0: there was no time for it.
    pub sequences: usize,
    pub epochs: usize,
    /// On held-out demonstrations; none where there was nothing to compare.
    pub score: Option<Score>,
    pub chosen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdaptOrigin)]
pub enum Origin {
    /// The caller's.
    Given,
    /// The model's.
    Written,
    /// The house's, because the model wrote none.
    Default,
}

/// How demonstrations that a candidate had not seen were answered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AdaptScore)]
pub struct Score {
    pub right: usize,
    pub of: usize,
    /// Mean log-likelihood of the right answers, nats a token: decides between equals.
    pub logprob: f32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AdaptTraining)]
pub struct Training {
    pub sequences: usize,
    pub epochs: usize,
    /// Tokens trained on, all epochs together.
    pub tokens: usize,
    pub first_loss: f32,
    pub last_loss: f32,
}
