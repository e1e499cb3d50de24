//! The interface of what computes: one decoder, run by two executors.
//!
//! Both executors hold the frozen base weights and the KV slots; adapters come with each batch. A sequence's
//! results never depend on the other sequences of its batch.

use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::lora::LoraGrads;
use std::any::Any;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// Names a sequence's keys and values inside an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KvSlot(pub usize);

/// A supervised row: its logits should predict `token`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    pub row: usize,
    /// A token of the vocabulary; in [`Executor::backward`] also [`Target::OTHERS`].
    pub token: u32,
    /// Weight of this row's negative log-likelihood in the loss (ignored by [`Executor::score`]).
    pub weight: f32,
}

impl Target {
    /// Stands for all tokens that no other target of the row names; its likelihood is the sum of theirs. A soft
    /// target knows its likeliest tokens one by one, and of the rest only the sum.
    pub const OTHERS: u32 = u32::MAX;

    pub(crate) fn is_others(&self) -> bool {
        self.token == Target::OTHERS
    }

    /// Whether the target names a token of the vocabulary, or all others where `others` allows that.
    pub(crate) fn is_known(&self, vocab_size: usize, others: bool) -> bool {
        (self.token as usize) < vocab_size || others && self.is_others()
    }
}

/// The result of [`Executor::score`] for one target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Natural logarithm of the target's probability.
    pub logprob: f32,
    /// No other token is more likely.
    pub is_argmax: bool,
}

/// The arguments and results of one [`Executor::backward`], owned so that the pass can be done in parts.
#[derive(Debug, Default)]
pub struct BackwardPass {
    pub batch: PackedBatch,
    pub targets: Vec<Target>,
    pub grads: Vec<Option<LoraGrads>>,
    /// The negative log-likelihood of each target, once the pass is done.
    pub nll: Vec<f32>,
    /// Set where the layers under the adapters need not be computed, or where their output is wanted for later
    /// passes over the same batch.
    pub hidden: Option<HiddenStates>,
    /// What the softmax of each run of targets is over. The runs follow each other and cover all targets; without any,
    /// every softmax is over the whole vocabulary.
    pub vocabularies: Vec<(Range<usize>, Vocabulary)>,
    /// Parts done; the executor decides what a part is.
    pub(crate) parts: usize,
}

/// The output of the frozen layers under the adapters: the same in every epoch.
#[derive(Debug, Clone, Default)]
pub struct HiddenStates {
    /// The lowest layer that trains.
    pub layer: usize,
    /// `[T, hidden]`: the residual stream before that layer. If it is given, the layers under it are not computed.
    /// If it is empty, an executor may fill it.
    pub states: Vec<f32>,
}

/// The tokens that a softmax is over.
#[derive(Debug, Clone, Default)]
pub enum Vocabulary {
    /// All of them.
    #[default]
    Whole,
    /// All of them, with one target a row. An executor may note which tokens matter. If it does, it may leave out the
    /// gradients of logits whose probability is below [`Likely::LEAST_GRADIENT`].
    Watched(Likely),
    /// These alone, with one target a row, which is among them. Only an executor that fills [`Vocabulary::Watched`] meets
    /// one.
    Shortlist(Arc<Shortlist>),
}

/// The tokens that mattered at the rows of some targets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Likely {
    /// The targets, and every token that had a probability of at least [`Likely::LEAST`] at a row.
    pub tokens: BTreeSet<u32>,
    pub rows: usize,
    /// The sum over the rows of the probability of the tokens under [`Likely::LEAST`], in millionths. Integers have one sum,
    /// however the rows are grouped.
    pub left_out: u64,
}

impl Likely {
    /// The probability from which a token is likely.
    pub const LEAST: f32 = 1e-3;
    /// The probability from which a token's gradient counts.
    pub const LEAST_GRADIENT: f32 = 1e-4;

    pub(crate) fn add(&mut self, more: Likely) {
        self.tokens.extend(more.tokens);
        self.rows += more.rows;
        self.left_out += more.left_out;
    }
}

/// A part of the vocabulary.
#[derive(Debug)]
pub struct Shortlist {
    tokens: Vec<u32>,
    /// What the executor makes of it: the output projection to these tokens.
    pub(crate) projection: OnceLock<Box<dyn Any + Send + Sync>>,
}

impl Shortlist {
    pub fn new(tokens: BTreeSet<u32>) -> Self {
        Shortlist {
            tokens: tokens.into_iter().collect(),
            projection: OnceLock::new(),
        }
    }

    /// Ascending.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }
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

/// One model on one device.
pub trait Executor: Send {
    fn config(&self) -> &ModelConfig;

    /// A new, empty slot.
    fn kv_new(&mut self) -> KvSlot;
    /// A new slot that starts with the first `len` tokens of `from`.
    fn kv_fork(&mut self, from: KvSlot, len: usize) -> KvSlot;
    /// Tokens that the slot holds.
    fn kv_len(&self, slot: KvSlot) -> usize;
    /// The most tokens that a fork copies, now or when it grows; it shares the memory of all earlier ones.
    fn kv_page(&self) -> usize {
        usize::MAX
    }
    /// Gives the slot's memory back; the slot must not be used again.
    fn kv_free(&mut self, slot: KvSlot);

    /// Runs the batch, appends to its KV slots, and returns the logits of the rows in `wanted`
    /// (ascending), row-major `[wanted.len(), vocab]`.
    ///
    /// # Errors
    /// [`crate::Error::Input`] if the batch, a slot or a wanted row is not valid, [`crate::Error::Adapter`] if an
    /// adapter does not fit the model.
    fn forward(&mut self, batch: &PackedBatch, wanted: &[usize]) -> Result<Vec<f32>>;

    /// Runs the batch as [`Executor::forward`] does, and returns the log-likelihood of each target (ascending
    /// rows). Logits of other rows are never made.
    fn score(&mut self, batch: &PackedBatch, targets: &[Target]) -> Result<Vec<Score>>;

    /// Forward and backward of `Σ weight · nll` over `targets` (ascending rows; several targets of one row are a
    /// soft target). Returns the negative log-likelihood (nll) of each target.
    ///
    /// The gradient of `batch.adapters[i]` is added to `grads[i]`; where that is `None`, the adapter is frozen.
    /// Base weights never get a gradient.
    ///
    /// # Errors
    /// [`crate::Error::Input`] if a sequence has a KV slot, a target is outside the batch or the vocabulary, or
    /// there is not one entry of `grads` for each adapter.
    fn backward(
        &mut self,
        batch: &PackedBatch,
        targets: &[Target],
        grads: &mut [Option<LoraGrads>],
    ) -> Result<Vec<f32>>;

    /// Does the next part of a pass; `true` if it was the last. Between the parts other batches may run, but no
    /// other backward. After an error the pass must be dropped.
    fn backward_part(&mut self, pass: &mut BackwardPass) -> Result<bool> {
        let short = |v: &Vocabulary| matches!(v, Vocabulary::Shortlist(_));
        if pass.vocabularies.iter().any(|(_, v)| short(v)) {
            return Err(Error::Input(
                "this executor has no softmax over a shortlist".into(),
            ));
        }
        pass.nll = self.backward(&pass.batch, &pass.targets, &mut pass.grads)?;
        Ok(true)
    }
}
