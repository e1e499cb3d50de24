//! LoRA: a low-rank correction `(alpha / rank) · B · A` of a frozen linear layer (arXiv 2106.09685).

mod extras;
mod gguf;
mod interpolate;
mod linalg;
pub mod peft;
mod rank;
mod sum;

pub(crate) use extras::dora_gain;
pub use extras::{Extras, LinearExtras, TableChange, TablePair};
pub use gguf::to_gguf;
pub(crate) use linalg::basis;

use crate::config::{ModelConfig, Projection};
use crate::error::{Error, Result};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// An adapter's shape and scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    pub rank: usize,
    pub alpha: f32,
    /// The linear layers that carry a pair, in the order of [`Projection::ALL`].
    pub targets: Vec<Projection>,
}

/// The two matrices of one linear layer, row-major f32. The correction is `scale · B · A · x`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraPair {
    /// `[rank, in_features]`
    pub a: Vec<f32>,
    /// `[out_features, rank]`
    pub b: Vec<f32>,
}

/// An adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    pub config: LoraConfig,
    /// `layers[l][projection.index()]`; `None` where a linear layer has no pair.
    pub layers: Vec<[Option<LoraPair>; 7]>,
    /// What it changes besides; `None` for plain LoRA, as training makes it.
    pub extras: Option<Arc<Extras>>,
}

/// Gradients of a [`Lora`], of the shapes of its `layers`; executors add to them.
pub type LoraGrads = Vec<[Option<LoraPair>; 7]>;

impl LoraConfig {
    /// For every linear layer of the decoder.
    pub fn all_linear(rank: usize, alpha: f32) -> Self {
        LoraConfig {
            rank,
            alpha,
            targets: Projection::ALL.to_vec(),
        }
    }

    /// `alpha / rank`, the factor of the correction.
    pub fn scale(&self) -> f32 {
        self.alpha / self.rank as f32
    }
}

impl Lora {
    /// A fresh adapter, which changes nothing yet. A is drawn as PEFT draws it (Kaiming uniform with a = √5, that
    /// is U(−1/√in, 1/√in)); B is zero.
    pub fn init(config: LoraConfig, model: &ModelConfig, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self::build(config, model, |rank, inputs, outputs| LoraPair {
            a: uniform(&mut rng, rank * inputs, 1.0 / (inputs as f32).sqrt()),
            b: vec![0.0; outputs * rank],
        })
    }

    /// [`Lora::init`], without pairs in the layers under `first_layer`.
    pub fn init_upper(
        config: LoraConfig,
        model: &ModelConfig,
        first_layer: usize,
        seed: u64,
    ) -> Self {
        let mut lora = Self::init(config, model, seed);
        for layer in lora.layers.iter_mut().take(first_layer) {
            *layer = Default::default();
        }
        lora
    }

    /// The lowest layer that has a pair; 0 if none has.
    pub fn lowest_layer(&self) -> usize {
        let has = |layer: &[Option<LoraPair>; 7]| layer.iter().any(Option::is_some);
        self.layers.iter().position(has).unwrap_or(0)
    }

    /// An adapter of random A and B, for tests: a fresh adapter's zeros would hide mistakes.
    pub fn random(config: LoraConfig, model: &ModelConfig, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Self::build(config, model, |rank, inputs, outputs| LoraPair {
            a: uniform(&mut rng, rank * inputs, 1.0 / (inputs as f32).sqrt()),
            b: uniform(&mut rng, outputs * rank, 0.5 / (rank as f32).sqrt()),
        })
    }

    /// Zeros of the same shapes, for gradients or optimizer state.
    pub fn zeros_like(&self) -> LoraGrads {
        self.layers
            .iter()
            .map(|layer| {
                layer.each_ref().map(|pair| {
                    pair.as_ref().map(|p| LoraPair {
                        a: vec![0.0; p.a.len()],
                        b: vec![0.0; p.b.len()],
                    })
                })
            })
            .collect()
    }

    /// Checks that the adapter has the model's layers, and pairs of its shapes; executors rely on it.
    ///
    /// # Errors
    /// [`Error::Adapter`] names the first difference.
    pub fn validate(&self, model: &ModelConfig) -> Result<()> {
        let (rank, layers) = (self.config.rank, self.layers.len());
        if rank == 0 || layers != model.num_layers {
            return Err(Error::Adapter(format!(
                "it has rank {rank} and {layers} layers, the model has {} layers",
                model.num_layers
            )));
        }
        for (l, layer) in self.layers.iter().enumerate() {
            for (p, pair) in Projection::ALL.into_iter().zip(layer) {
                let Some(pair) = pair else { continue };
                let (inputs, outputs) = model.features(p);
                let (want_a, want_b) = (rank * inputs, outputs * rank);
                if (pair.a.len(), pair.b.len()) != (want_a, want_b) {
                    return Err(Error::Adapter(format!(
                        "layer {l} {}: A and B have {} and {} numbers, rank {rank} on this model \
                         takes {want_a} and {want_b}",
                        p.name(),
                        pair.a.len(),
                        pair.b.len()
                    )));
                }
            }
        }
        match &self.extras {
            Some(extras) => extras.validate(model),
            None => Ok(()),
        }
    }

    /// The number of trainable parameters.
    pub fn parameters(&self) -> usize {
        let pairs = self.layers.iter().flatten().flatten();
        pairs.map(|p| p.a.len() + p.b.len()).sum()
    }

    fn build(
        config: LoraConfig,
        model: &ModelConfig,
        mut pair: impl FnMut(usize, usize, usize) -> LoraPair,
    ) -> Self {
        let layers = (0..model.num_layers)
            .map(|_| {
                Projection::ALL.map(|p| {
                    let (inputs, outputs) = model.features(p);
                    config
                        .targets
                        .contains(&p)
                        .then(|| pair(config.rank, inputs, outputs))
                })
            })
            .collect();
        Lora {
            config,
            layers,
            extras: None,
        }
    }
}

fn uniform(rng: &mut impl Rng, n: usize, bound: f32) -> Vec<f32> {
    (0..n).map(|_| rng.random_range(-bound..=bound)).collect()
}
