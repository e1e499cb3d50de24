//! LoRA training: many candidates at once in one packed batch.
//!
//! A [`Candidate`] owns everything that its result depends on: its adapter, AdamW's moments, its random order
//! of examples, its learning rate. A [`Step`] gathers the next batch of every unfinished candidate, runs it
//! through the executor in micro-batches, and then updates each candidate with its own gradient. The weights
//! of the loss are fixed before the first micro-batch, so a candidate's result depends neither on the other
//! candidates nor on the cut into micro-batches.

mod adamw;
mod candidate;
mod course;
mod hidden_cache;
mod orthogonal;
mod prefix;
mod schedule;
mod step;
mod vocabulary;

pub use adamw::{AdamW, Rates};
pub use candidate::{Candidate, Example, MAX_SOFT};
pub use schedule::Schedule;
pub use step::{Step, StepReport, step};

use crate::error::{Error, Result};
use crate::lora::LoraConfig;
use serde::{Deserialize, Serialize};

/// How one candidate is trained. The defaults are those of SEAL (arXiv 2506.10943).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    pub lora: LoraConfig,
    /// Layers under this one get no pair; their output for an example is computed once for all epochs.
    pub first_layer: usize,
    pub learning_rate: f32,
    /// Most passes over the examples.
    pub epochs: usize,
    /// Ends the training after the epoch by which this share of the examples was answered: every target had a
    /// probability above one half. What counts is an example's last visit, before its step's update. An answered example
    /// rests for one epoch. Under a shortlist the probabilities are those among its tokens. Above 0 and at most 1;
    /// `None`: every epoch trains every example. A soft target never counts as answered.
    pub early_stop: Option<f32>,
    /// Sequences in one optimizer step.
    pub batch_size: usize,
    pub schedule: Schedule,
    /// Steps over which the rate first rises to `learning_rate`.
    pub warmup_steps: usize,
    pub weight_decay: f32,
    /// A gradient of a larger norm is scaled down to this norm; 0 turns clipping off.
    pub clip_norm: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    /// Of the fresh adapter and of the order of the examples.
    pub seed: u64,
    /// Learning rate of B relative to that of A (LoRA+, arXiv 2402.12354); 1 is plain LoRA.
    pub lora_plus_ratio: f32,
    /// Of the adapter that training starts from, this many first ranks stay as they are, and the other ranks stay
    /// orthogonal to them.
    pub kept_ranks: usize,
    /// After the first epoch the softmax is over the targets and the tokens that were likely in the first one, and in the
    /// first one the smallest gradients of logits are left out ([`crate::Vocabulary`]). Without it, or where a target is
    /// soft, every softmax is over the whole vocabulary.
    pub shortlist: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            lora: LoraConfig::all_linear(32, 64.0),
            first_layer: 0,
            learning_rate: 1e-3,
            epochs: 10,
            early_stop: None,
            batch_size: 1,
            schedule: Schedule::Linear,
            warmup_steps: 0,
            weight_decay: 0.0,
            clip_norm: 1.0,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            seed: 0,
            lora_plus_ratio: 1.0,
            kept_ranks: 0,
            shortlist: false,
        }
    }
}

impl TrainConfig {
    /// # Errors
    /// [`Error::Input`] names the first wrong setting.
    pub fn validate(&self) -> Result<()> {
        let checks = [
            (self.lora.rank >= 1, "lora.rank must be at least 1"),
            (
                self.lora.alpha.is_finite() && self.lora.alpha > 0.0,
                "lora.alpha must be above 0",
            ),
            (
                !self.lora.targets.is_empty(),
                "lora.targets must name at least one linear layer",
            ),
            (
                self.learning_rate.is_finite() && self.learning_rate >= 0.0,
                "learning_rate must be 0 or above",
            ),
            (self.epochs >= 1, "epochs must be at least 1"),
            (
                self.early_stop
                    .is_none_or(|share| share > 0.0 && share <= 1.0),
                "early_stop must be above 0 and at most 1",
            ),
            (self.batch_size >= 1, "batch_size must be at least 1"),
            (
                self.weight_decay.is_finite() && self.weight_decay >= 0.0,
                "weight_decay must be 0 or above",
            ),
            (
                self.clip_norm.is_finite() && self.clip_norm >= 0.0,
                "clip_norm must be 0 (off) or above",
            ),
            ((0.0..1.0).contains(&self.beta1), "beta1 must be in [0, 1)"),
            ((0.0..1.0).contains(&self.beta2), "beta2 must be in [0, 1)"),
            (
                self.eps.is_finite() && self.eps > 0.0,
                "eps must be above 0",
            ),
            (
                self.lora_plus_ratio.is_finite() && self.lora_plus_ratio > 0.0,
                "lora_plus_ratio must be above 0",
            ),
            (
                self.kept_ranks < self.lora.rank,
                "kept_ranks must be below the adapter's rank",
            ),
            (
                self.kept_ranks == 0 || self.weight_decay == 0.0,
                "weight_decay must be 0 where ranks are kept: it would shrink them",
            ),
        ];
        match checks.into_iter().find(|(right, _)| !right) {
            Some((_, message)) => Err(Error::Input(message.into())),
            None => Ok(()),
        }
    }
}
