//! The batch's adapters as tensors, and the segmented LoRA product: each adapter's correction is computed over the
//! rows of the sequences that name it.

use super::frozen_linear::FrozenLinear;
use crate::batch::PackedBatch;
use crate::config::{ModelConfig, Projection};
use crate::error::{Error, Result};
use crate::lora::{Extras, LinearExtras, Lora, LoraGrads, LoraPair};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use std::sync::Arc;

/// A LoRA pair on the device: A `[rank, in]`, B `[out, rank]`.
struct Pair {
    a: Tensor,
    b: Tensor,
}

struct Adapter {
    scale: f64,
    layers: Vec<[Option<Pair>; 7]>,
    /// The rows that it corrects; `None` for all rows, each once.
    rows: Option<Tensor>,
    extras: Option<Arc<Extras>>,
}

/// All adapters of one batch.
pub struct Adapters {
    adapters: Vec<Adapter>,
}

impl Adapters {
    /// Uploads the adapters: as variables those that `trained` names, as constants the others.
    pub fn new(
        batch: &PackedBatch,
        config: &ModelConfig,
        trained: impl Fn(usize) -> bool,
        device: &Device,
    ) -> Result<Self> {
        batch.check_stacks()?;
        let mut adapters = Vec::with_capacity(batch.adapters.len());
        for (index, lora) in batch.adapters.iter().enumerate() {
            check_shapes(lora, config)?;
            adapters.push(Adapter {
                scale: lora.config.scale() as f64,
                layers: upload(lora, config, trained(index), device)?,
                rows: rows_of(batch, index, device)?,
                extras: lora.extras.clone(),
            });
        }
        Ok(Adapters { adapters })
    }

    /// `y` plus every adapter's `scale · (x · Aᵀ) · Bᵀ` on its rows, and its extras; x `[T, in]`, y `[T, out]`,
    /// the frozen layer's output.
    pub fn correct(
        &self,
        layer: usize,
        projection: Projection,
        frozen: &FrozenLinear,
        x: &Tensor,
        mut y: Tensor,
    ) -> Result<Tensor> {
        for adapter in &self.adapters {
            let Some(pair) = &adapter.layers[layer][projection.index()] else {
                continue;
            };
            let delta = |x: &Tensor| x.matmul(&pair.a.t()?)?.matmul(&pair.b.t()?)? * adapter.scale;
            y = match &adapter.rows {
                None => (y + delta(x)?)?,
                Some(rows) if rows.elem_count() == 0 => y,
                Some(rows) => y.index_add(rows, &delta(&x.index_select(rows, 0)?)?, 0)?,
            };
            if let Some(extras) = &adapter.extras {
                let extras = &extras.layers[layer][projection.index()];
                let after = adapter.on_rows(&y, |y| {
                    let pair = (&pair.a, &pair.b, adapter.scale);
                    finish(extras, frozen, pair, y)
                })?;
                y = after;
            }
        }
        Ok(y)
    }

    /// The embeddings `x[T, hidden]` of the tokens, with every adapter's own table on its rows.
    pub fn embed(&self, tokens: &[u32], x: Tensor) -> Result<Tensor> {
        let table = |a: &Adapter| a.extras.as_ref().is_some_and(|e| e.embedding.is_some());
        if !self.adapters.iter().any(table) {
            return Ok(x);
        }
        let mut embeddings = x.to_vec2::<f32>()?;
        for adapter in &self.adapters {
            let Some(table) = adapter.extras.as_ref().and_then(|e| e.embedding.as_ref()) else {
                continue;
            };
            let rows = embeddings.iter_mut().enumerate();
            for (row, values) in rows.filter(|(row, _)| adapter.corrects(*row)) {
                table.embed(tokens[row] as usize, values);
            }
        }
        Ok(Tensor::new(embeddings, x.device())?)
    }

    /// The logits `[n, vocab]` of the batch's `rows`, with every adapter's own output projection; normed
    /// `[n, hidden]`.
    pub fn score(&self, rows: &[usize], normed: &Tensor, logits: Tensor) -> Result<Tensor> {
        if !self.adapters.iter().any(|a| a.extras.is_some()) {
            return Ok(logits);
        }
        let normed = normed.to_vec2::<f32>()?;
        let mut all = logits.to_vec2::<f32>()?;
        for (index, row) in rows.iter().enumerate() {
            for adapter in &self.adapters {
                let head = adapter.extras.as_ref().and_then(|e| e.head.as_ref());
                let Some(head) = head.filter(|_| adapter.corrects(*row)) else {
                    continue;
                };
                let (x, y) = (&normed[index], &mut all[index]);
                if let Some(whole) = &head.whole {
                    let rows = whole.chunks_exact(x.len());
                    let dot = |row: &[f32]| row.iter().zip(x).map(|(w, x)| w * x).sum();
                    y.iter_mut().zip(rows).for_each(|(y, row)| *y = dot(row));
                }
                if let Some(pair) = &head.pair {
                    pair.add_logits(x, y);
                }
            }
        }
        Ok(Tensor::new(all, logits.device())?)
    }

    /// Adds the gradients of adapter i to `grads[i]`, if that is `Some`.
    pub fn add_gradients(&self, store: &GradStore, grads: &mut [Option<LoraGrads>]) -> Result<()> {
        for (adapter, grads) in self.adapters.iter().zip(grads) {
            let Some(grads) = grads else { continue };
            let pairs = adapter.layers.iter().flatten();
            for (pair, into) in pairs.zip(grads.iter_mut().flatten()) {
                if let (Some(pair), Some(into)) = (pair, into) {
                    add(store, &pair.a, &mut into.a)?;
                    add(store, &pair.b, &mut into.b)?;
                }
            }
        }
        Ok(())
    }
}

impl Adapter {
    /// `y` with `change` applied to the adapter's rows.
    fn on_rows(&self, y: &Tensor, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        match &self.rows {
            None => change(y),
            Some(rows) if rows.elem_count() == 0 => Ok(y.clone()),
            Some(rows) => {
                let before = y.index_select(rows, 0)?;
                let difference = (change(&before)? - before)?;
                Ok(y.index_add(rows, &difference, 0)?)
            }
        }
    }

    fn corrects(&self, row: usize) -> bool {
        let rows = self.rows.as_ref().map(|rows| rows.to_vec1::<u32>());
        rows.is_none_or(|rows| rows.is_ok_and(|rows| rows.contains(&(row as u32))))
    }
}

/// DoRA's factor and LoRA's bias: `g ⊙ (y − bias) + bias + lora_bias`, for `y` with the correction in it.
fn finish(
    extras: &LinearExtras,
    frozen: &FrozenLinear,
    (a, b, scale): (&Tensor, &Tensor, f64),
    y: &Tensor,
) -> Result<Tensor> {
    let mut y = y.clone();
    if let Some(magnitude) = &extras.magnitude {
        let weight = (frozen.weight() + (b.matmul(a)? * scale)?)?;
        let norm = weight.sqr()?.sum(1)?.sqrt()?;
        let gain = (Tensor::new(magnitude.as_slice(), y.device())? / norm)?;
        y = match frozen.bias() {
            None => y.broadcast_mul(&gain)?,
            Some(bias) => {
                let product = y.broadcast_sub(bias)?.broadcast_mul(&gain)?;
                product.broadcast_add(bias)?
            }
        };
    }
    match &extras.bias {
        None => Ok(y),
        Some(bias) => Ok(y.broadcast_add(&Tensor::new(bias.as_slice(), y.device())?)?),
    }
}

/// Adds a variable's gradient. A variable that no supervised row depends on has none.
fn add(store: &GradStore, variable: &Tensor, into: &mut [f32]) -> Result<()> {
    if let Some(gradient) = store.get(variable) {
        let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
        for (sum, g) in into.iter_mut().zip(gradient) {
            *sum += g;
        }
    }
    Ok(())
}

fn upload(
    lora: &Lora,
    config: &ModelConfig,
    trained: bool,
    device: &Device,
) -> Result<Vec<[Option<Pair>; 7]>> {
    let tensor = |data: &[f32], shape: (usize, usize)| -> Result<Tensor> {
        let tensor = Tensor::from_slice(data, shape, device)?;
        Ok(match trained {
            true => Var::from_tensor(&tensor)?.into_inner(),
            false => tensor,
        })
    };
    let rank = lora.config.rank;
    let mut layers = Vec::with_capacity(lora.layers.len());
    for layer in &lora.layers {
        let mut pairs: [Option<Pair>; 7] = Default::default();
        for projection in Projection::ALL {
            let (inputs, outputs) = config.features(projection);
            if let Some(pair) = &layer[projection.index()] {
                pairs[projection.index()] = Some(Pair {
                    a: tensor(&pair.a, (rank, inputs))?,
                    b: tensor(&pair.b, (outputs, rank))?,
                });
            }
        }
        layers.push(pairs);
    }
    Ok(layers)
}

fn rows_of(batch: &PackedBatch, adapter: usize, device: &Device) -> Result<Option<Tensor>> {
    // An adapter that a stack names twice corrects twice.
    let mut rows: Vec<u32> = Vec::new();
    for sequence in &batch.sequences {
        for _ in sequence.stack.iter().filter(|a| **a == adapter) {
            rows.extend(sequence.rows.clone().map(|r| r as u32));
        }
    }
    if rows.iter().copied().eq(0..batch.tokens.len() as u32) {
        return Ok(None);
    }
    let count = rows.len();
    Ok(Some(Tensor::from_vec(rows, count, device)?))
}

fn check_shapes(lora: &Lora, config: &ModelConfig) -> Result<()> {
    if lora.layers.len() != config.num_layers {
        return Err(Error::Adapter(format!(
            "it has {} layers, the model {}",
            lora.layers.len(),
            config.num_layers
        )));
    }
    let rank = lora.config.rank;
    for (layer, pairs) in lora.layers.iter().enumerate() {
        for projection in Projection::ALL {
            let (inputs, outputs) = config.features(projection);
            let fits = |p: &LoraPair| p.a.len() == rank * inputs && p.b.len() == outputs * rank;
            if !pairs[projection.index()].as_ref().is_none_or(fits) {
                return Err(Error::Adapter(format!(
                    "layer {layer} {}: A should be [{rank}, {inputs}] and B [{outputs}, {rank}]",
                    projection.name()
                )));
            }
        }
    }
    Ok(())
}
