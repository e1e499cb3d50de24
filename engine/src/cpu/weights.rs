//! Frozen weights, packed once at load. q, k and v are stacked, as are gate and up, so that one product computes
//! them together.

use super::linear::{Format, Linear};
use super::shape::{GATE_UP, O, QKV};
use crate::config::{ModelConfig, Projection};
use crate::error::Result;
use crate::weights::Matrix;
use rayon::prelude::*;

/// All weights of a model.
pub struct Weights {
    /// The embedding, unless the output projection is the embedding.
    embedding: Option<Linear>,
    pub head: Linear,
    pub layers: Vec<LayerWeights>,
    pub norm: Vec<f32>,
}

/// One layer's frozen weights.
pub struct LayerWeights {
    pub input_norm: Vec<f32>,
    pub post_norm: Vec<f32>,
    /// Norms of each head of q and of k (Qwen3).
    pub qk_norm: Option<(Vec<f32>, Vec<f32>)>,
    qkv: Linear,
    o: Linear,
    gate_up: Linear,
    down: Linear,
}

impl LayerWeights {
    /// The frozen layer of a group.
    pub fn linear(&self, group: usize) -> &Linear {
        match group {
            QKV => &self.qkv,
            O => &self.o,
            GATE_UP => &self.gate_up,
            _ => &self.down,
        }
    }
}

/// Reads a tensor by its Hugging Face name.
pub type Source<'a> = dyn Fn(&str) -> Result<Matrix> + Sync + 'a;

impl Weights {
    pub fn load(config: &ModelConfig, source: &Source, format: Format) -> Result<Self> {
        let layers = (0..config.num_layers).into_par_iter();
        let layers = layers
            .map(|i| load_layer(config, i, source, format))
            .collect::<Result<_>>()?;
        let table = |name| -> Result<Linear> {
            Ok(Linear::new(
                vec![source(name)?],
                config.hidden_size,
                None,
                format,
            ))
        };
        let embedding = table("model.embed_tokens.weight")?;
        let (embedding, head) = match config.tie_word_embeddings {
            true => (None, embedding),
            false => (Some(embedding), table("lm_head.weight")?),
        };
        Ok(Weights {
            embedding,
            head,
            layers,
            norm: source("model.norm.weight")?.into_floats(),
        })
    }

    /// The embeddings of the tokens, `[T, hidden]`.
    pub fn embed(&self, tokens: &[u32], hidden: usize, out: &mut [f32]) {
        let table = self.embedding.as_ref().unwrap_or(&self.head);
        let rows = out.par_chunks_exact_mut(hidden).with_min_len(16);
        rows.zip(tokens)
            .for_each(|(out, token)| table.row(*token as usize, out));
    }
}

fn load_layer(
    config: &ModelConfig,
    index: usize,
    source: &Source,
    format: Format,
) -> Result<LayerWeights> {
    let matrix = |name: &str| source(&format!("model.layers.{index}.{name}"));
    let get = |name: &str| -> Result<Vec<f32>> { Ok(matrix(name)?.into_floats()) };
    let stack = |members: &[Projection], with_bias: bool| -> Result<Linear> {
        let names = |kind: &'static str| {
            let of = move |p: &Projection| format!("{}.{kind}", p.path());
            members.iter().map(of)
        };
        let biases = || {
            names("bias")
                .map(|name| get(&name))
                .collect::<Result<Vec<_>>>()
        };
        let bias = with_bias.then(biases).transpose()?.map(|b| b.concat());
        let weights: Result<_> = names("weight").map(|name| matrix(&name)).collect();
        let inputs = config.features(members[0]).0;
        Ok(Linear::new(weights?, inputs, bias, format))
    };
    let norms = || -> Result<_> {
        Ok((
            get("self_attn.q_norm.weight")?,
            get("self_attn.k_norm.weight")?,
        ))
    };
    Ok(LayerWeights {
        input_norm: get("input_layernorm.weight")?,
        post_norm: get("post_attention_layernorm.weight")?,
        qk_norm: config.qk_norm.then(norms).transpose()?,
        qkv: stack(
            &[Projection::Q, Projection::K, Projection::V],
            config.qkv_bias,
        )?,
        o: stack(&[Projection::O], false)?,
        gate_up: stack(&[Projection::Gate, Projection::Up], false)?,
        down: stack(&[Projection::Down], false)?,
    })
}
