//! The reference executor: plain differentiable candle operations in f32, on any device that candle knows.
//!
//! It is the definition that the other executor is tested against, and runs on a GPU (cargo feature `cuda`). It
//! prefers the obvious to the fast: automatic differentiation instead of hand-written backward passes, a new
//! tensor instead of a reused buffer. Two things are not left to candle. The weight of a frozen layer gets no
//! gradient (`frozen_linear`), and only wanted logits are made, a slice at a time (`head`).
//!
//! Several of candle's fused operations (`softmax_last_dim`, `rms_norm`, `rope`) have no backward and cut the
//! gradient silently. `tests/gradients.rs` detects their use.

mod adapters;
mod attention;
mod decoder;
mod frozen_linear;
mod head;
mod kv;
mod norm;
mod rope;

use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::executor::{Executor, KvSlot, Score, Target};
use crate::lora::LoraGrads;
use crate::weights::ModelFiles;
use adapters::Adapters;
use candle_core::{Device, Tensor};
use decoder::Decoder;
use kv::{Cache, KeysValues, Slots};

/// The reference executor.
pub struct Reference {
    decoder: Decoder,
    slots: Slots,
}

/// The first GPU, if the `cuda` feature is on and there is one; else the processor.
pub fn device() -> Result<Device> {
    Ok(Device::cuda_if_available(0)?)
}

impl Reference {
    /// Reads the model's weights onto `device`, as f32.
    pub fn new(files: &ModelFiles, device: &Device) -> Result<Self> {
        Ok(Reference {
            decoder: Decoder::load(files, device)?,
            slots: Slots::default(),
        })
    }

    /// The hidden states of a batch that trains nothing, the new contents of its slots, and its adapters.
    fn infer(&self, batch: &PackedBatch) -> Result<(Tensor, Vec<Vec<KeysValues>>, Adapters)> {
        let caches = batch
            .sequences
            .iter()
            .map(|s| s.kv.map(|slot| self.slots.get(slot)).transpose())
            .collect::<Result<Vec<_>>>()?;
        let device = self.decoder.device();
        let adapters = Adapters::new(batch, &self.decoder.config, |_| false, device)?;
        let hidden = self.decoder.hidden(batch, &adapters, &caches)?;
        Ok((hidden.states, hidden.kv, adapters))
    }

    /// Lets the slots grow once all results are there, so that a batch that failed changed nothing.
    fn commit(&mut self, batch: &PackedBatch, kv: Vec<Vec<KeysValues>>) -> Result<()> {
        let sequences = batch.sequences.iter();
        let slots = sequences.filter_map(|s| Some((s.kv?, s.rows.len())));
        for ((slot, added), layers) in slots.zip(kv) {
            let len = self.slots.get(slot)?.len() + added;
            self.slots.replace(slot, layers, len)?;
        }
        Ok(())
    }

    /// Checks what every pass relies on, beyond [`PackedBatch::validate`].
    fn check(&self, batch: &PackedBatch, rows: impl Iterator<Item = usize>) -> Result<()> {
        batch.validate(self.decoder.config.vocab_size)?;
        let mut used = Vec::new();
        for sequence in &batch.sequences {
            if let Some(index) = sequence.stack.iter().find(|a| **a >= batch.adapters.len()) {
                return Err(Error::Input(format!(
                    "a sequence names adapter {index}, the batch has {}",
                    batch.adapters.len()
                )));
            }
            if let Some(slot) = sequence.kv {
                if used.contains(&slot) {
                    return Err(Error::Input(format!(
                        "KV slot {} belongs to two sequences of one batch",
                        slot.0
                    )));
                }
                used.push(slot);
            }
        }
        for row in rows {
            if row >= batch.tokens.len() {
                return Err(Error::Input(format!(
                    "row {row} was asked for, the batch has {}",
                    batch.tokens.len()
                )));
            }
        }
        Ok(())
    }

    /// Checks rows and tokens of the targets; `others`: whether [`Target::OTHERS`] is allowed.
    fn check_targets(&self, batch: &PackedBatch, targets: &[Target], others: bool) -> Result<()> {
        self.check(batch, targets.iter().map(|t| t.row))?;
        let vocab = self.decoder.config.vocab_size;
        match targets.iter().find(|t| !t.is_known(vocab, others)) {
            Some(t) => Err(Error::Input(format!(
                "target token {} is outside the vocabulary of {vocab}",
                t.token
            ))),
            None => Ok(()),
        }
    }
}

impl Executor for Reference {
    fn config(&self) -> &ModelConfig {
        &self.decoder.config
    }

    fn kv_new(&mut self) -> KvSlot {
        self.slots.insert(Cache::default())
    }

    fn kv_fork(&mut self, from: KvSlot, len: usize) -> KvSlot {
        let prefix = self.slots.prefix(from, len);
        let prefix = prefix.expect("a fork takes a prefix of a living slot");
        self.slots.insert(prefix)
    }

    fn kv_len(&self, slot: KvSlot) -> usize {
        self.slots.get(slot).map_or(0, Cache::len)
    }

    fn kv_free(&mut self, slot: KvSlot) {
        self.slots.remove(slot);
    }

    fn forward(&mut self, batch: &PackedBatch, wanted: &[usize]) -> Result<Vec<f32>> {
        self.check(batch, wanted.iter().copied())?;
        if batch.tokens.is_empty() {
            return Ok(Vec::new());
        }
        let (states, kv, adapters) = self.infer(batch)?;
        let logits = match wanted {
            [] => Vec::new(),
            rows => {
                let normed = self.decoder.normed_rows(&states, rows)?;
                let logits = adapters.score(rows, &normed, self.decoder.logits(&normed)?)?;
                logits.flatten_all()?.to_vec1()?
            }
        };
        self.commit(batch, kv)?;
        Ok(logits)
    }

    fn score(&mut self, batch: &PackedBatch, targets: &[Target]) -> Result<Vec<Score>> {
        self.check_targets(batch, targets, false)?;
        if batch.tokens.is_empty() {
            return Ok(Vec::new());
        }
        let (states, kv, adapters) = self.infer(batch)?;
        let scores = match rows_of(targets).as_slice() {
            [] => Vec::new(),
            rows => {
                let normed = self.decoder.normed_rows(&states, rows)?;
                head::score(&self.decoder, &adapters, &normed, targets)?
            }
        };
        self.commit(batch, kv)?;
        Ok(scores)
    }

    fn backward(
        &mut self,
        batch: &PackedBatch,
        targets: &[Target],
        grads: &mut [Option<LoraGrads>],
    ) -> Result<Vec<f32>> {
        self.check_targets(batch, targets, true)?;
        if batch.sequences.iter().any(|s| s.kv.is_some()) {
            return Err(Error::Input(
                "a sequence to train on must have no KV slot".into(),
            ));
        }
        if grads.len() != batch.adapters.len() {
            return Err(Error::Input(format!(
                "{} gradients for {} adapters",
                grads.len(),
                batch.adapters.len()
            )));
        }
        batch
            .adapters
            .iter()
            .try_for_each(|a| a.check_trainable())?;
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let (decoder, device) = (&self.decoder, self.decoder.device());
        let trained = |index: usize| grads[index].is_some();
        let adapters = Adapters::new(batch, &decoder.config, trained, device)?;
        let alone = vec![None; batch.sequences.len()];
        let hidden = decoder.hidden(batch, &adapters, &alone)?;
        let normed = decoder.normed_rows(&hidden.states, &rows_of(targets))?;
        let (nll, gradient) = head::loss_gradient(decoder, &normed, targets)?;
        // `normed · gradient` has the loss's gradient for everything below the head.
        let store = (normed * gradient)?.sum_all()?.backward()?;
        adapters.add_gradients(&store, grads)?;
        Ok(nll)
    }
}

fn rows_of(targets: &[Target]) -> Vec<usize> {
    targets.iter().map(|t| t.row).collect()
}
