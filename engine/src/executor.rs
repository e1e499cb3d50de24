//! What computes: one decoder, defined once, run by two executors.
//!
//! Both hold the frozen base weights and the KV slots; adapters come with each batch. Results of one
//! sequence never depend on which other sequences share its batch.

use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::error::Result;
use crate::lora::LoraGrads;

/// A sequence's keys and values inside an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KvSlot(pub usize);

/// A supervised row: its logits should predict `token`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    pub row: usize,
    /// Or [`Target::OTHERS`], in [`Executor::backward`] alone.
    pub token: u32,
    /// Weight of this row's negative log-likelihood in the loss (ignored by [`Executor::score`]).
    pub weight: f32,
}

impl Target {
    /// Any token that no other target of the row names: what is known of a distribution beside its likeliest tokens is
    /// how likely all the others are together. Its likelihood is the sum of theirs.
    pub const OTHERS: u32 = u32::MAX;

    pub(crate) fn is_others(&self) -> bool {
        self.token == Target::OTHERS
    }

    /// Whether it names a token of the vocabulary, or all others where that means something.
    pub(crate) fn is_known(&self, vocab_size: usize, others: bool) -> bool {
        (self.token as usize) < vocab_size || others && self.is_others()
    }
}

/// What [`Executor::score`] says of one target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Natural logarithm of the target's probability.
    pub logprob: f32,
    /// No other token is more likely.
    pub is_argmax: bool,
}

/// One [`Executor::backward`], owned so that it can be done in parts.
#[derive(Debug, Default)]
pub struct BackwardPass {
    pub batch: PackedBatch,
    pub targets: Vec<Target>,
    pub grads: Vec<Option<LoraGrads>>,
    /// The nll of each target, once the pass is done.
    pub nll: Vec<f32>,
    /// Set where a pass over the same tokens has been or may come.
    pub below: Option<Below>,
    /// Parts done; what a part is, is the executor's affair.
    pub(crate) parts: usize,
}

/// What the frozen layers under an adapter make of a batch: the same in every epoch.
#[derive(Debug, Clone, Default)]
pub struct Below {
    /// The lowest layer that trains.
    pub layer: usize,
    /// `[T, hidden]`, the residual stream where that layer begins. Where it is given the layers under it
    /// are not computed; where it is empty an executor that can leaves it there.
    pub states: Vec<f32>,
}

impl BackwardPass {
    /// The arguments of [`Executor::backward`].
    pub fn new(batch: PackedBatch, targets: Vec<Target>, grads: Vec<Option<LoraGrads>>) -> Self {
        BackwardPass {
            batch,
            targets,
            grads,
            ..Default::default()
        }
    }
}

pub trait Executor: Send {
    fn config(&self) -> &ModelConfig;

    /// A new, empty slot.
    fn kv_new(&mut self) -> KvSlot;
    /// A new slot that starts with the first `len` tokens of `from`.
    fn kv_fork(&mut self, from: KvSlot, len: usize) -> KvSlot;
    /// Tokens held.
    fn kv_len(&self, slot: KvSlot) -> usize;
    /// The most tokens that a fork copies, now or when it grows; it shares the memory of the others.
    fn kv_page(&self) -> usize {
        usize::MAX
    }
    /// Gives the slot's memory back; the slot must not be used again.
    fn kv_free(&mut self, slot: KvSlot);

    /// Runs the batch, appends to its KV slots, and returns the logits of the rows in `wanted`
    /// (ascending), row-major `[wanted.len(), vocab]`.
    fn forward(&mut self, batch: &PackedBatch, wanted: &[usize]) -> Result<Vec<f32>>;

    /// Log-likelihood of each target (ascending rows); logits of other rows are never made.
    /// Appends to KV slots as `forward` does.
    fn score(&mut self, batch: &PackedBatch, targets: &[Target]) -> Result<Vec<Score>>;

    /// Forward and backward of `Σ weight · nll` over `targets` (ascending rows; several of one row are a soft
    /// target). `grads[i]` belongs to
    /// `batch.adapters[i]`: where it is `Some` the gradient is added to it, where `None` that adapter
    /// is frozen. Sequences must have no KV slot. Returns the nll of each target. Base weights
    /// never get a gradient.
    fn backward(
        &mut self,
        batch: &PackedBatch,
        targets: &[Target],
        grads: &mut [Option<LoraGrads>],
    ) -> Result<Vec<f32>>;

    /// The next part of a pass; `true` when it was the last. Other batches may run between the parts, but
    /// no other backward. After an error the pass must be dropped.
    fn backward_part(&mut self, pass: &mut BackwardPass) -> Result<bool> {
        pass.nll = self.backward(&pass.batch, &pass.targets, &mut pass.grads)?;
        Ok(true)
    }
}
