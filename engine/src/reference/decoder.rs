//! The decoder: embedding, pre-norm layers of attention and SwiGLU, final norm, output head.
//!
//! ```text
//! x = embed(tokens)                                         [T, hidden]
//! x = x + o(attend(rope(q(n)), rope(k(n)), v(n)))   n = norm(x)
//! x = x + down(silu(gate(n)) · up(n))               n = norm(x)
//! logits = head(norm(x))                            of wanted rows alone
//! ```
//!
//! Linear layers and norms run over all rows of the batch at once, attention over one sequence at a time.

use super::adapters::Adapters;
use super::attention::attend;
use super::frozen_linear::FrozenLinear;
use super::kv::{Cache, KeysValues};
use super::norm::RmsNorm;
use super::rope::Rotary;
use crate::batch::PackedBatch;
use crate::config::{ModelConfig, Projection};
use crate::error::Result;
use crate::weights::ModelFiles;
use candle_core::{Device, Tensor};
use std::ops::Range;

pub struct Decoder {
    pub config: ModelConfig,
    device: Device,
    /// `[vocab, hidden]`
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: FrozenLinear,
}

struct Layer {
    index: usize,
    attention_norm: RmsNorm,
    /// Norms of each head of q and of k (Qwen3).
    head_norms: Option<(RmsNorm, RmsNorm)>,
    mlp_norm: RmsNorm,
    /// By [`Projection::index`].
    linears: Vec<FrozenLinear>,
}

/// The result of a pass over the layers.
pub struct Hidden {
    /// `[T, hidden]`, before the final norm.
    pub states: Tensor,
    /// For each sequence with a KV slot, in order: all its keys and values, by layer.
    pub kv: Vec<Vec<KeysValues>>,
}

impl Decoder {
    pub fn load(files: &ModelFiles, device: &Device) -> Result<Self> {
        let config = files.config.clone();
        let tensor = |name: &str| -> Result<Tensor> {
            let tensor = files.tensor(name)?;
            Ok(Tensor::from_vec(tensor.data, tensor.shape, device)?)
        };
        let norm = |name: &str| -> Result<RmsNorm> {
            Ok(RmsNorm::new(tensor(name)?, config.rms_norm_eps))
        };
        let embedding = tensor("model.embed_tokens.weight")?;
        let head = match config.tie_word_embeddings {
            true => embedding.clone(),
            false => tensor("lm_head.weight")?,
        };
        let layer = |index: usize| -> Result<Layer> {
            let name = |part: &str| format!("model.layers.{index}.{part}");
            let linear = |projection: Projection| -> Result<FrozenLinear> {
                let path = name(projection.path());
                let biased = config.qkv_bias && projection <= Projection::V;
                Ok(FrozenLinear::new(
                    tensor(&format!("{path}.weight"))?,
                    match biased {
                        true => Some(tensor(&format!("{path}.bias"))?),
                        false => None,
                    },
                ))
            };
            Ok(Layer {
                index,
                attention_norm: norm(&name("input_layernorm.weight"))?,
                head_norms: match config.qk_norm {
                    true => Some((
                        norm(&name("self_attn.q_norm.weight"))?,
                        norm(&name("self_attn.k_norm.weight"))?,
                    )),
                    false => None,
                },
                mlp_norm: norm(&name("post_attention_layernorm.weight"))?,
                linears: Projection::ALL
                    .into_iter()
                    .map(linear)
                    .collect::<Result<_>>()?,
            })
        };
        Ok(Decoder {
            layers: (0..config.num_layers).map(layer).collect::<Result<_>>()?,
            norm: norm("model.norm.weight")?,
            head: FrozenLinear::new(head, None),
            embedding,
            device: device.clone(),
            config,
        })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Runs the layers. `caches` holds the earlier keys and values of each sequence.
    pub fn hidden(
        &self,
        batch: &PackedBatch,
        adapters: &Adapters,
        caches: &[Option<&Cache>],
    ) -> Result<Hidden> {
        let rotary = Rotary::new(&self.config, &batch.positions, &self.device)?;
        let tokens = Tensor::new(batch.tokens.as_slice(), &self.device)?;
        let mut x = adapters.embed(&batch.tokens, self.embedding.index_select(&tokens, 0)?)?;
        let mut kv: Vec<Vec<KeysValues>> = caches.iter().flatten().map(|_| Vec::new()).collect();
        for layer in &self.layers {
            let n = layer.attention_norm.forward(&x)?;
            let (q, k, v) = self.queries_keys_values(layer, adapters, &rotary, &n)?;
            let mut attended = Vec::with_capacity(batch.sequences.len());
            let mut kept = kv.iter_mut();
            for (sequence, cache) in batch.sequences.iter().zip(caches) {
                let (start, len) = (sequence.rows.start, sequence.rows.len());
                let mut keys = k.narrow(0, start, len)?;
                let mut values = v.narrow(0, start, len)?;
                if let Some(earlier) = cache.and_then(|c| c.layer(layer.index)) {
                    keys = Tensor::cat(&[&earlier.keys, &keys], 0)?;
                    values = Tensor::cat(&[&earlier.values, &values], 0)?;
                }
                if let Some(prefix) = sequence.prefix {
                    let Range { start, end } = batch.sequences[prefix].rows;
                    keys = Tensor::cat(&[&k.narrow(0, start, end - start)?, &keys], 0)?;
                    values = Tensor::cat(&[&v.narrow(0, start, end - start)?, &values], 0)?;
                }
                attended.push(attend(&q.narrow(0, start, len)?, &keys, &values)?);
                if cache.is_some() {
                    let kept = kept.next().expect("one list for each sequence with a slot");
                    // Copied, because a view would keep the whole batch's tensor alive.
                    kept.push(KeysValues {
                        keys: keys.force_contiguous()?,
                        values: values.force_contiguous()?,
                    });
                }
            }
            let attended = Tensor::cat(&attended, 0)?;
            x = (x + layer.linear(adapters, Projection::O, &attended)?)?;

            let n = layer.mlp_norm.forward(&x)?;
            let gate = layer.linear(adapters, Projection::Gate, &n)?.silu()?;
            let up = layer.linear(adapters, Projection::Up, &n)?;
            x = (x + layer.linear(adapters, Projection::Down, &(gate * up)?)?)?;
        }
        Ok(Hidden { states: x, kv })
    }

    /// The final norm of some rows of the hidden states, `[rows.len(), hidden]`.
    pub fn normed_rows(&self, states: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let rows: Vec<u32> = rows.iter().map(|r| *r as u32).collect();
        let rows = Tensor::new(rows.as_slice(), &self.device)?;
        Ok(self.norm.forward(&states.index_select(&rows, 0)?)?)
    }

    /// The logits `[n, vocab]` of normed hidden states `[n, hidden]`.
    pub fn logits(&self, normed: &Tensor) -> Result<Tensor> {
        Ok(self.head.forward(normed)?)
    }

    /// q, k and v of a layer, each `[T, heads, D]`, with q and k rotated.
    fn queries_keys_values(
        &self,
        layer: &Layer,
        adapters: &Adapters,
        rotary: &Rotary,
        n: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (rows, c) = (n.dim(0)?, &self.config);
        let heads = |projection, heads: usize| -> Result<Tensor> {
            let y = layer.linear(adapters, projection, n)?;
            Ok(y.reshape((rows, heads, c.head_dim))?)
        };
        let mut q = heads(Projection::Q, c.num_heads)?;
        let mut k = heads(Projection::K, c.num_kv_heads)?;
        let v = heads(Projection::V, c.num_kv_heads)?;
        if let Some((q_norm, k_norm)) = &layer.head_norms {
            q = q_norm.forward(&q)?;
            k = k_norm.forward(&k)?;
        }
        Ok((rotary.apply(&q)?, rotary.apply(&k)?, v))
    }
}

impl Layer {
    fn linear(&self, adapters: &Adapters, projection: Projection, x: &Tensor) -> Result<Tensor> {
        let frozen = &self.linears[projection.index()];
        adapters.correct(self.index, projection, frozen, x, frozen.forward(x)?)
    }
}
