//! The inner loop's training: shape of the LoRA, rate, passes, and what keeps earlier documents.

use super::error::{OptionError, within};
use super::strategy::{Method, Strategy};
use crate::learn::ports::model::Update;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingOptions {
    /// Rank of the LoRA. 1 to 256. An alias keeps the rank of its first version. Under `orthogonal` (1 to 64) every
    /// document adds this many ranks.
    pub rank: usize,
    pub alpha: f32,
    pub learning_rate: f32,
    /// Passes over the training sequences at most. 1 to 100; null: 4 where at least a fifth of the questions are learned
    /// with an answer in own words too (not under `distill`), else 5.
    pub epochs: Option<usize>,
    /// The training ends after the epoch in which this share of the training sequences was answered: every trained token
    /// had a probability above one half, so the model says the sequence by itself. Until then an answered sequence rests
    /// every other epoch. 0 to 1; 0 trains every sequence in every epoch.
    pub early_stop: Option<f32>,
    /// The learning rate of LoRA's second matrix, as a multiple of that of the first (LoRA+, arXiv 2402.12354). 1 to 100.
    pub lora_plus: f32,
    /// Training sequences per optimizer step.
    pub batch_size: usize,
    /// Number of upper layers to train; null, or more than there are, trains all layers. The frozen layers below compute
    /// each sequence once for all epochs.
    pub upper_layers: Option<usize>,
    /// The training targets.
    pub method: Method,
    /// The protection of earlier documents. An alias with a version keeps the strategy that made the version, unless
    /// the request names another.
    pub strategy: Strategy,
    /// Number of earlier training sequences replayed per new one, which protects earlier documents.
    pub replay: f32,
    /// Under `kl`, the share of each target that the previous model decides. 0 to 0.95.
    pub stay: f32,
}

/// One LoRA training by itself, without replay. Fields that a request leaves out come from the preset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InnerOptions {
    /// Rank of the LoRA. 1 to 256.
    #[schema(required = false)]
    pub rank: usize,
    #[schema(required = false)]
    pub alpha: f32,
    #[schema(required = false)]
    pub learning_rate: f32,
    /// Passes over the training sequences at most. 1 to 100.
    #[schema(required = false)]
    pub epochs: usize,
    /// Ends the training after the epoch in which this share of the training sequences was answered. 0 to 1; null and 0
    /// train every sequence in every epoch.
    #[serde(default)]
    pub early_stop: Option<f32>,
    /// The learning rate of LoRA's second matrix, as a multiple of that of the first. 1 to 100.
    #[schema(required = false)]
    pub lora_plus: f32,
    /// Training sequences an optimizer step.
    #[schema(required = false)]
    pub batch_size: usize,
    /// Trains so many of the upper layers alone; all of them if null, or if there are no more.
    #[serde(default)]
    pub upper_layers: Option<usize>,
}

impl InnerOptions {
    pub fn update(&self, seed: u64) -> Update {
        Update {
            rank: self.rank,
            alpha: self.alpha,
            learning_rate: self.learning_rate,
            epochs: self.epochs,
            batch_size: self.batch_size,
            seed,
            upper_layers: self.upper_layers,
            kept_ranks: 0,
            early_stop: self.early_stop.filter(|share| *share > 0.0),
            lora_plus: self.lora_plus,
        }
    }

    /// `at` is where the options stand in the request.
    pub fn validate(&self, at: &str) -> Result<(), OptionError> {
        let check = |field: &str, value: f64, low: f64, high: f64| {
            within(&format!("{at}.{field}"), value, low, high)
        };
        check("rank", self.rank as f64, 1.0, 256.0)?;
        check("alpha", self.alpha as f64, 0.01, 1024.0)?;
        check("learning_rate", self.learning_rate as f64, 1e-7, 0.1)?;
        check("epochs", self.epochs as f64, 1.0, 100.0)?;
        check("batch_size", self.batch_size as f64, 1.0, 64.0)?;
        check(
            "early_stop",
            self.early_stop.unwrap_or(0.0).into(),
            0.0,
            1.0,
        )?;
        check("lora_plus", self.lora_plus.into(), 1.0, 100.0)?;
        let upper = self.upper_layers.unwrap_or(1);
        check("upper_layers", upper as f64, 1.0, 1000.0)
    }
}

impl TrainingOptions {
    /// The settings of one training, without those of replay and strategy. `epochs` are the passes where the settings name
    /// none.
    pub fn inner(&self, epochs: usize) -> InnerOptions {
        InnerOptions {
            rank: self.rank,
            alpha: self.alpha,
            learning_rate: self.learning_rate,
            epochs: self.epochs.unwrap_or(epochs),
            batch_size: self.batch_size,
            upper_layers: self.upper_layers,
            early_stop: self.early_stop,
            lora_plus: self.lora_plus,
        }
    }
}

impl Default for TrainingOptions {
    fn default() -> Self {
        TrainingOptions {
            rank: 32,
            alpha: 64.0,
            learning_rate: 1e-3,
            epochs: None,
            early_stop: Some(1.0),
            lora_plus: 1.0,
            batch_size: 4,
            upper_layers: None,
            method: Method::default(),
            strategy: Strategy::default(),
            replay: 1.0,
            stay: 0.5,
        }
    }
}
