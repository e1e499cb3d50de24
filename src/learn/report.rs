//! Everything that happened while a document was learned: what `GET /documents/{id}` shows.

use super::knowledge::closed_book::Answer;
use super::knowledge::questions::Dropped;
use super::knowledge::self_edit::SelfEdit;
use super::model::{TrainingText, Update};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    pub self_edits: Vec<SelfEdit>,
    /// What was trained on, without the replayed sequences of earlier documents.
    pub training_sequences: Vec<TrainingText>,
    pub replayed_sequences: usize,
    pub probes: Vec<ProbeReport>,
    /// Pairs the model wrote that failed the round trip.
    pub dropped_probes: Vec<Dropped>,
    pub score_before: Option<f32>,
    pub score_after: Option<f32>,
    pub retention: Option<Retention>,
    pub attempts: Vec<Attempt>,
    pub decision: Option<Decision>,
    /// Wall-clock seconds by stage.
    pub seconds: BTreeMap<String, f32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProbeReport {
    pub question: String,
    pub answer: String,
    pub origin: Origin,
    pub before: Option<Answer>,
    pub after: Option<Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The caller's.
    Given,
    /// The model's, kept by the round trip.
    Written,
}

/// Score on the probes of earlier documents of the alias.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Retention {
    pub probes: usize,
    pub before: f32,
    pub after: f32,
}

/// One training of the document and what the gate said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    #[schema(value_type = Object)]
    pub update: Update,
    pub replayed_sequences: usize,
    /// Mean loss of each optimizer step, nats a token.
    pub losses: Vec<f32>,
    pub tokens: usize,
    pub seconds: f32,
    pub answers: Vec<Answer>,
    pub score: f32,
    pub retention: Option<Retention>,
    pub accepted: bool,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    pub accepted: bool,
    pub reason: String,
    /// The alias version that was published.
    pub version: Option<u64>,
}
