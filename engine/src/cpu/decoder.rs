//! The decoder: frozen weights, KV slots and workspaces, and the passes that serve.

use super::head::Head;
use super::kv::Slots;
use super::layer::Pass;
use super::linear::Format;
use super::prepared::{Caches, Prepared};
use super::shape::Shape;
use super::weights::{Source, Weights};
use super::workspace::{Saved, Workspace};
use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::executor::{Score, Target};

/// The decoder on the processor.
pub struct Decoder {
    pub(super) config: ModelConfig,
    pub(super) shape: Shape,
    pub(super) weights: Weights,
    pub(super) format: Format,
    pub(super) slots: Slots,
    /// The adapters as they are served.
    caches: Caches,
    serving: Workspace,
    /// Apart from `serving`: batches are served between the parts of a training pass.
    pub(super) training: Workspace,
}

impl Decoder {
    pub fn load(config: &ModelConfig, source: &Source, format: Format) -> Result<Self> {
        Ok(Decoder {
            config: config.clone(),
            shape: Shape::new(config),
            weights: Weights::load(config, source, format)?,
            format,
            slots: Slots::new(config.num_layers, config.kv_dim()),
            caches: Caches::default(),
            serving: Workspace::default(),
            training: Workspace::default(),
        })
    }

    /// Logits of the wanted rows, `[wanted.len(), vocab]`. Appends to the batch's KV slots.
    pub fn logits(&mut self, batch: &PackedBatch, wanted: &[usize]) -> Result<Vec<f32>> {
        let ready = Prepared::for_serving(
            &self.config,
            (&self.weights, &self.shape, self.format),
            batch,
            &self.slots,
            &mut self.caches,
        )?;
        let rows = ready.plan.rows;
        if let Some(row) = wanted.iter().find(|r| **r >= rows) {
            return Err(Error::Input(format!(
                "row {row} is wanted of a batch of {rows}"
            )));
        }
        if rows == 0 {
            return Ok(Vec::new());
        }
        self.decode(&batch.tokens, &ready);
        let h = self.serving.hidden.get(rows * self.shape.hidden);
        let head = Head::new(&self.weights, &self.shape, &ready.extras);
        Ok(head.logits(h, wanted, &mut self.serving.temp))
    }

    /// The score of every target. Appends to the batch's KV slots.
    pub fn score(&mut self, batch: &PackedBatch, targets: &[Target]) -> Result<Vec<Score>> {
        let ready = Prepared::for_serving(
            &self.config,
            (&self.weights, &self.shape, self.format),
            batch,
            &self.slots,
            &mut self.caches,
        )?;
        let rows = ready.plan.rows;
        ready
            .plan
            .check_targets(targets, self.config.vocab_size, false)?;
        if rows == 0 {
            return Ok(Vec::new());
        }
        self.decode(&batch.tokens, &ready);
        let h = self.serving.hidden.get(rows * self.shape.hidden);
        let head = Head::new(&self.weights, &self.shape, &ready.extras);
        Ok(head.score(h, targets, &mut self.serving.temp))
    }

    /// Runs all layers. The output of the last one is left in the workspace's residual stream.
    fn decode(&mut self, tokens: &[u32], batch: &Prepared) {
        let Workspace {
            hidden,
            layers,
            temp,
            ..
        } = &mut self.serving;
        let h = hidden.get_mut(batch.plan.rows * self.shape.hidden);
        self.weights.embed(tokens, self.shape.hidden, h);
        batch.extras.embed(tokens, self.shape.hidden, h);
        layers.resize_with(1, Saved::default);
        for (index, weights) in self.weights.layers.iter().enumerate() {
            let pass = Pass {
                shape: &self.shape,
                weights,
                batch,
                index,
            };
            pass.forward(h, &mut self.slots, &mut layers[0], temp);
        }
        for span in &batch.plan.spans {
            if let Some(slot) = span.kv {
                self.slots.advance(slot, span.rows.len());
            }
        }
    }
}
