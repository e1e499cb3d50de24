//! The batch's adapters as tensors, and the segmented LoRA product: each adapter's correction is computed over the
//! rows of the sequences that name it.

use crate::batch::PackedBatch;
use crate::config::{ModelConfig, Projection};
use crate::error::{Error, Result};
use crate::lora::{Lora, LoraGrads, LoraPair};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};

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
        let mut adapters = Vec::with_capacity(batch.adapters.len());
        for (index, lora) in batch.adapters.iter().enumerate() {
            check_shapes(lora, config)?;
            adapters.push(Adapter {
                scale: lora.config.scale() as f64,
                layers: upload(lora, config, trained(index), device)?,
                rows: rows_of(batch, index, device)?,
            });
        }
        Ok(Adapters { adapters })
    }

    /// `y` plus every adapter's `scale · (x · Aᵀ) · Bᵀ` on its rows; x `[T, in]`, y `[T, out]`.
    pub fn correct(
        &self,
        layer: usize,
        projection: Projection,
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
        }
        Ok(y)
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
