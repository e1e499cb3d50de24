//! The plan of a batch, checked: which rows attend to which keys, which adapter corrects which rows, and the
//! rotary angles of every row.

use super::kv::Slots;
use crate::batch::PackedBatch;
use crate::config::{ModelConfig, Projection};
use crate::error::{Error, Result};
use crate::executor::{KvSlot, Target};
use crate::lora::{Lora, LoraGrads};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// The facts of a batch.
pub struct Plan<'a> {
    pub rows: usize,
    pub spans: Vec<Span>,
    pub adapters: &'a [Arc<Lora>],
    /// Level i holds the i-th adapter of every sequence's stack. Within a level rows are disjoint.
    pub levels: Vec<Vec<Segment>>,
    /// The largest rank of the batch, made even: the width reserved for every `x · Aᵀ`.
    pub rank: usize,
    pub rotary: Rotary,
}

/// The rotary angles of every row, as cosines and sines, each `[T, head_dim / 2]`.
#[derive(Default)]
pub struct Rotary {
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
}

/// One sequence.
pub struct Span {
    pub rows: Range<usize>,
    /// The number of keys before its own: the slot's, or its prefix's in this batch.
    pub past: usize,
    pub kv: Option<KvSlot>,
    /// The rows of its prefix.
    pub prefix: Option<Range<usize>>,
}

/// Neighbouring rows that one adapter corrects.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub rows: Range<usize>,
    pub adapter: usize,
}

impl<'a> Plan<'a> {
    /// Checks the batch; `rotary` must be made of its positions.
    ///
    /// # Errors
    /// [`Error::Input`] names a wrong sequence or slot, [`Error::Adapter`] an adapter that does not fit the model.
    pub fn new(
        config: &ModelConfig,
        batch: &'a PackedBatch,
        slots: &Slots,
        rotary: Rotary,
    ) -> Result<Self> {
        batch.validate(config.vocab_size)?;
        batch.check_stacks()?;
        let mut seen = HashSet::new();
        let mut spans = Vec::with_capacity(batch.sequences.len());
        for s in &batch.sequences {
            if let Some(index) = s.stack.iter().find(|a| **a >= batch.adapters.len()) {
                return Err(Error::Input(format!(
                    "a sequence names adapter {index}, the batch has {}",
                    batch.adapters.len()
                )));
            }
            let prefix = s.prefix.map(|p| batch.sequences[p].rows.clone());
            let past = match s.kv {
                None => prefix.as_ref().map_or(0, Range::len),
                Some(slot) if !seen.insert(slot) => {
                    return Err(Error::Input(format!(
                        "two sequences share KV slot {}",
                        slot.0
                    )));
                }
                Some(slot) => slots
                    .len(slot)
                    .ok_or_else(|| Error::Input(format!("KV slot {} does not exist", slot.0)))?,
            };
            spans.push(Span {
                rows: s.rows.clone(),
                past,
                kv: s.kv,
                prefix,
            });
        }
        for adapter in &batch.adapters {
            check_shapes(config, &adapter.layers, adapter.config.rank)?;
            if let Some(extras) = &adapter.extras {
                extras.validate(config)?;
            }
        }
        Ok(Plan {
            rows: batch.tokens.len(),
            spans,
            adapters: &batch.adapters,
            levels: levels(batch),
            rank: batch
                .adapters
                .iter()
                .map(|a| a.config.rank)
                .max()
                .unwrap_or(0)
                .next_multiple_of(2),
            rotary,
        })
    }

    /// Checks rows and tokens of the targets; `others`: whether [`Target::OTHERS`] is allowed.
    pub fn check_targets(&self, targets: &[Target], vocab_size: usize, others: bool) -> Result<()> {
        match targets
            .iter()
            .find(|t| t.row >= self.rows || !t.is_known(vocab_size, others))
        {
            Some(t) => Err(Error::Input(format!(
                "target (row {}, token {}) is outside {} rows or {vocab_size} tokens",
                t.row, t.token, self.rows
            ))),
            None => Ok(()),
        }
    }

    /// Checks what backward needs besides: no slots, and gradients of the adapters' shapes.
    pub fn check_grads(&self, config: &ModelConfig, grads: &[Option<LoraGrads>]) -> Result<()> {
        if self.spans.iter().any(|s| s.kv.is_some()) {
            return Err(Error::Input(
                "a training sequence cannot have a KV slot".into(),
            ));
        }
        if grads.len() != self.adapters.len() {
            return Err(Error::Input(format!(
                "{} gradients for {} adapters",
                grads.len(),
                self.adapters.len()
            )));
        }
        self.adapters.iter().try_for_each(|a| a.check_trainable())?;
        for (adapter, grads) in self.adapters.iter().zip(grads) {
            let Some(grads) = grads else { continue };
            check_shapes(config, grads, adapter.config.rank)?;
            let pairs = adapter.layers.iter().flatten().zip(grads.iter().flatten());
            if pairs
                .into_iter()
                .any(|(pair, grad)| grad.is_some() && pair.is_none())
            {
                return Err(Error::Adapter(
                    "a gradient for a layer without a pair".into(),
                ));
            }
        }
        Ok(())
    }
}

fn check_shapes(config: &ModelConfig, layers: &LoraGrads, rank: usize) -> Result<()> {
    if layers.len() != config.num_layers || rank == 0 {
        return Err(Error::Adapter(format!(
            "rank {rank} over {} layers, the model has {}",
            layers.len(),
            config.num_layers
        )));
    }
    for (l, layer) in layers.iter().enumerate() {
        for (p, pair) in Projection::ALL.into_iter().zip(layer) {
            let (inputs, outputs) = config.features(p);
            if let Some(pair) = pair
                && (pair.a.len() != rank * inputs || pair.b.len() != outputs * rank)
            {
                return Err(Error::Adapter(format!(
                    "layer {l} {} is not of rank {rank} from {inputs} to {outputs}",
                    p.name()
                )));
            }
        }
    }
    Ok(())
}

fn levels(batch: &PackedBatch) -> Vec<Vec<Segment>> {
    let depth = batch
        .sequences
        .iter()
        .map(|s| s.stack.len())
        .max()
        .unwrap_or(0);
    let mut levels = vec![Vec::<Segment>::new(); depth];
    for s in &batch.sequences {
        for (level, adapter) in levels.iter_mut().zip(&s.stack) {
            match level.last_mut() {
                Some(last) if last.adapter == *adapter && last.rows.end == s.rows.start => {
                    last.rows.end = s.rows.end;
                }
                _ => level.push(Segment {
                    rows: s.rows.clone(),
                    adapter: *adapter,
                }),
            }
        }
    }
    levels
}

impl Rotary {
    pub fn new(config: &ModelConfig, positions: &[u32]) -> Self {
        let frequencies = config.inverse_frequencies();
        let angles = positions
            .iter()
            .flat_map(|p| frequencies.iter().map(|f| *p as f32 * f));
        let (cos, sin) = angles.map(|a| (a.cos(), a.sin())).unzip();
        Rotary { cos, sin }
    }
}
