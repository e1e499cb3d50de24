//! The lineage of a version: the record of how it was made. It is written once, with the version.
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

/// The record of how a version was made, by source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "source")]
pub enum Lineage {
    /// `POST /ingest`: the version learned a document.
    #[serde(rename = "ingest")]
    Ingest(Box<IngestLineage>),
    /// `DELETE /documents/{id}`: the version is its parent without a document.
    #[serde(rename = "unlearn")]
    Unlearn(Box<UnlearnLineage>),
    /// `POST /adapt`: the version learned a task from its examples.
    #[serde(rename = "adapt")]
    Adapt(Box<AdaptLineage>),
    /// `POST /train`: the version is a trained policy.
    #[serde(rename = "train")]
    Train(Box<TrainLineage>),
    /// `POST /adapters`: a client uploaded PEFT files.
    #[serde(rename = "upload")]
    Upload,
    /// `POST /v1/load_lora_adapter`: the PEFT files came from this machine's disk.
    #[serde(rename = "load_lora_adapter")]
    Load { path: PathBuf },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IngestLineage {
    pub strategy: Strategy,
    pub documents: Vec<LearnedDocument>,
    /// The document whose place the learned one took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<LearnedDocument>,
    pub self_edit: SelfEditOptions,
    /// The settings of the training that was accepted.
    pub update: Option<Update>,
    /// Shares of the document's probes answered right before and after the update, 0 to 1.
    pub score_before: Option<f32>,
    pub score_after: Option<f32>,
    /// Scores on the probes of earlier documents and on general probes.
    pub retention: Option<Retention>,
    pub general: Option<Retention>,
    /// Factor on the adapter's change, 0 to 1, if the full change forgot too much.
    pub scale: Option<f32>,
    pub training_sequences: usize,
    pub replayed_sequences: usize,
    /// Set if the version answers with several adapters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<RoutesRecord>,
}

/// The record of a version without a document that its parent had learned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UnlearnLineage {
    pub strategy: Strategy,
    /// Id of the deleted document.
    pub document: String,
    /// The documents that were learned again, because they had shared an adapter with it.
    pub documents: Vec<LearnedDocument>,
    /// Id of the job that learned them; `None` if nothing was trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// The settings of the training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,
    /// Scores on the probes of the documents that were learned again, before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Set if the version answers with several adapters, or with the base alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routes: Option<RoutesRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnedDocument {
    pub id: String,
    pub title: String,
}

/// The stored routes: the version that answers for each document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutesRecord {
    /// Sorted by the time of learning, oldest first.
    pub documents: Vec<RouteRecord>,
    /// The version for questions about no learned document; `None`: the base.
    pub otherwise: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRecord {
    /// Id of the document.
    pub document: String,
    /// `None`: the version of this lineage. Its number is not known yet when the lineage is written.
    pub version: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdaptLineage {
    pub job: String,
    /// Number of demonstrations.
    pub demonstrations: usize,
    pub self_edit: SelfEdit,
    pub training: Training,
    /// `alias@version` of the adapter that was trained further.
    pub from: Option<String>,
    /// Time at which a throw-away alias is deleted (RFC 3339, UTC); `None`: the alias is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainLineage {
    pub job: String,
    pub domain: TrainDomain,
    pub round: usize,
    pub reward: RewardRecord,
    /// Number of self-edits that the policy was fine-tuned on.
    pub kept: usize,
    pub update: Option<PolicyUpdate>,
    /// Mean gain in accuracy on the held-out contexts.
    pub score: Option<f32>,
    pub held_out: Option<HeldOutRecord>,
    pub contexts_digest: String,
    /// Keys of all contexts that the policy has practised on, in this job and in earlier ones.
    pub practised: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RewardRecord {
    pub kind: Reward,
    pub baseline: Baseline,
    /// Mean reward over all candidates of the round.
    pub mean: f32,
    /// Reward of each context's best candidate, averaged over the contexts.
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
        Lineage::decode(&owner, &version.lineage).map_err(Error::from)
    }

    /// Whether the version keeps the knowledge of its parent: `POST /ingest` learns on top of the live version, and
    /// `DELETE /documents/{id}` takes one document from it.
    pub fn continues_parent(&self) -> bool {
        matches!(self, Lineage::Ingest(_) | Lineage::Unlearn(_))
    }

    /// The stored routes, if the version has some.
    pub fn routes(&self) -> Option<&RoutesRecord> {
        match self {
            Lineage::Ingest(ingest) => ingest.routes.as_ref(),
            Lineage::Unlearn(unlearn) => unlearn.routes.as_ref(),
            _ => None,
        }
    }

    /// The strategy by which the version learned its documents; `None` if it learned none.
    pub fn strategy(&self) -> Option<Strategy> {
        match self {
            Lineage::Ingest(ingest) if ingest.routes.is_some() => Some(Strategy::Route),
            Lineage::Ingest(ingest) => Some(ingest.strategy),
            Lineage::Unlearn(unlearn) => Some(unlearn.strategy),
            _ => None,
        }
    }

    /// The settings of the training that made the version's adapter.
    pub fn update(&self) -> Option<&Update> {
        match self {
            Lineage::Ingest(ingest) => ingest.update.as_ref(),
            Lineage::Unlearn(unlearn) => unlearn.update.as_ref(),
            _ => None,
        }
    }

    /// Id of the job that made the version.
    pub fn job(&self) -> Option<&str> {
        match self {
            Lineage::Adapt(adapt) => Some(&adapt.job),
            Lineage::Train(train) => Some(&train.job),
            Lineage::Unlearn(unlearn) => unlearn.job.as_deref(),
            Lineage::Ingest(_) | Lineage::Upload | Lineage::Load { .. } => None,
        }
    }

    /// Time at which the alias is deleted if this version is still live (RFC 3339, UTC).
    pub fn expires_at(&self) -> Option<&str> {
        match self {
            Lineage::Adapt(adapt) => adapt.expires_at.as_deref(),
            _ => None,
        }
    }
}
