//! What made a version: written once, with the version, and read back as this type.
//!
//! ```text
//! {"format": 1, "source": "ingest", "strategy": "route", "documents": [{"id": …, "title": …}], …}
//! ```

use super::{Error, Result};
use crate::learn::fewshot::report::Training;
use crate::learn::fewshot::self_edit::SelfEdit;
use crate::learn::inner::report::Retention;
use crate::learn::options::self_edit::SelfEditOptions;
use crate::learn::options::strategy::Strategy;
use crate::learn::outer::options::{Baseline, Reward, TrainDomain};
use crate::learn::outer::report::PolicyUpdate;
use crate::learn::ports::model::Update;
use crate::learn::stats::Estimate;
use crate::store::{Record, Version};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What made a version, by its source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source")]
pub enum Lineage {
    /// `POST /ingest`: a document was learned.
    #[serde(rename = "ingest")]
    Ingest(Box<IngestLineage>),
    /// `POST /adapt`: a task was learned from its examples.
    #[serde(rename = "adapt")]
    Adapt(Box<AdaptLineage>),
    /// `POST /train`: a policy practised.
    #[serde(rename = "train")]
    Train(Box<TrainLineage>),
    /// `POST /adapters`: somebody uploaded PEFT files.
    #[serde(rename = "upload")]
    Upload,
    /// `POST /v1/load_lora_adapter`: PEFT files of this machine's disk.
    #[serde(rename = "load_lora_adapter")]
    Load { path: PathBuf },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IngestLineage {
    pub strategy: Strategy,
    pub documents: Vec<LearnedDocument>,
    pub self_edit: SelfEditOptions,
    /// The settings of the training that was accepted.
    pub update: Option<Update>,
    /// Shares of the document's probes answered right.
    pub score_before: Option<f32>,
    pub score_after: Option<f32>,
    /// On the probes of earlier documents, and on general ones.
    pub retention: Option<Retention>,
    pub general: Option<Retention>,
    /// The share of its change that the adapter kept, where it forgot too much with all of it.
    pub scale: Option<f32>,
    pub training_sequences: usize,
    pub replayed_sequences: usize,
    /// Where the version answers by several adapters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<RoutesRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnedDocument {
    pub id: String,
    pub title: String,
}

/// Who answers for which document, as the lineage holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutesRecord {
    /// In the order in which the documents were learned.
    pub documents: Vec<RouteRecord>,
    /// The version for questions about none of them; `None`: the base.
    pub otherwise: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    /// A document's id.
    pub document: String,
    /// `None`: the version that this lineage belongs to, whose number is not known when the lineage is written.
    pub version: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdaptLineage {
    pub job: String,
    /// How many there were.
    pub demonstrations: usize,
    pub self_edit: SelfEdit,
    pub training: Training,
    /// `alias@version` that was trained further.
    pub from: Option<String>,
    /// When a throw-away alias is deleted (RFC 3339, UTC); `None`: the alias is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainLineage {
    pub job: String,
    pub domain: TrainDomain,
    pub round: usize,
    pub reward: RewardRecord,
    /// Self-edits that the policy was fine-tuned on.
    pub kept: usize,
    pub update: Option<PolicyUpdate>,
    /// Mean gain in accuracy on the held-out contexts.
    pub score: Option<f32>,
    pub held_out: Option<HeldOutRecord>,
    pub contexts_digest: String,
    /// Keys of all contexts that the policy has practised on, in this job and before it.
    pub practised: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardRecord {
    pub kind: Reward,
    pub baseline: Baseline,
    /// Over all candidates of the round.
    pub mean: f32,
    /// Mean over contexts of the best candidate's reward.
    pub best: f32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldOutRecord {
    pub gain: Estimate,
    pub accuracy_before: f32,
    pub accuracy_after: f32,
    pub contexts: usize,
}

impl Record for Lineage {
    const KIND: &'static str = "lineage";
    const FORMAT: u64 = 1;
}

impl Lineage {
    pub fn of(version: &Version) -> Result<Lineage> {
        let owner = format!("{}@{}", version.alias, version.number);
        Lineage::decode(&owner, version.lineage.clone()).map_err(Error::from)
    }

    /// Whether the version holds what its parent holds. Only documents are learned on top of what is live.
    pub fn continues_parent(&self) -> bool {
        matches!(self, Lineage::Ingest(_))
    }

    /// The job that made the version.
    pub fn job(&self) -> Option<&str> {
        match self {
            Lineage::Adapt(adapt) => Some(&adapt.job),
            Lineage::Train(train) => Some(&train.job),
            Lineage::Ingest(_) | Lineage::Upload | Lineage::Load { .. } => None,
        }
    }

    /// When the alias is deleted, if this version is live then (RFC 3339, UTC).
    pub fn expires_at(&self) -> Option<&str> {
        match self {
            Lineage::Adapt(adapt) => adapt.expires_at.as_deref(),
            _ => None,
        }
    }
}
