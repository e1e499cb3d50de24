//! The shape of a decoder: everything that an executor must know besides the weights.

use serde::{Deserialize, Serialize};

/// Decoder families that share one definition (pre-norm, rotary, grouped-query attention, SwiGLU).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Llama and SmolLM2.
    Llama,
    /// Qwen2 and Qwen2.5: biases on q, k and v.
    Qwen2,
    /// Qwen3: RMSNorm on each head of q and k, no biases.
    Qwen3,
}

/// Llama 3's scaling of rotary frequencies (`rope_type: "llama3"`); the fields are transformers'.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeScaling {
    pub factor: f32,
    pub low_freq_factor: f32,
    pub high_freq_factor: f32,
    pub original_max_position: usize,
}

/// A decoder's dimensions and variants, in transformers' terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    pub family: Family,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_layers: usize,
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    pub rope_theta: f32,
    pub rope_scaling: Option<RopeScaling>,
    pub rms_norm_eps: f32,
    /// The output projection is the embedding.
    pub tie_word_embeddings: bool,
    /// q, k and v carry biases (Qwen2).
    pub qkv_bias: bool,
    /// q and k are normalised per head before the rotary embedding (Qwen3).
    pub qk_norm: bool,
    /// The longest context, in tokens, that the model was trained for.
    pub max_position: usize,
}

/// The seven linear layers of a decoder layer; each may have a LoRA pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Projection {
    #[serde(rename = "q_proj")]
    Q,
    #[serde(rename = "k_proj")]
    K,
    #[serde(rename = "v_proj")]
    V,
    #[serde(rename = "o_proj")]
    O,
    #[serde(rename = "gate_proj")]
    Gate,
    #[serde(rename = "up_proj")]
    Up,
    #[serde(rename = "down_proj")]
    Down,
}

impl Projection {
    pub const ALL: [Projection; 7] = [
        Projection::Q,
        Projection::K,
        Projection::V,
        Projection::O,
        Projection::Gate,
        Projection::Up,
        Projection::Down,
    ];

    /// The name transformers and PEFT use: `q_proj` …
    pub fn name(self) -> &'static str {
        match self {
            Projection::Q => "q_proj",
            Projection::K => "k_proj",
            Projection::V => "v_proj",
            Projection::O => "o_proj",
            Projection::Gate => "gate_proj",
            Projection::Up => "up_proj",
            Projection::Down => "down_proj",
        }
    }

    /// The module path inside a layer: `self_attn.q_proj`, `mlp.gate_proj` …
    pub fn path(self) -> &'static str {
        match self {
            Projection::Q => "self_attn.q_proj",
            Projection::K => "self_attn.k_proj",
            Projection::V => "self_attn.v_proj",
            Projection::O => "self_attn.o_proj",
            Projection::Gate => "mlp.gate_proj",
            Projection::Up => "mlp.up_proj",
            Projection::Down => "mlp.down_proj",
        }
    }

    /// The projection of that [`Projection::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Projection::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Its place in [`Projection::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl ModelConfig {
    /// (in, out) features of one linear layer.
    pub fn features(&self, projection: Projection) -> (usize, usize) {
        let (h, q, kv) = (self.hidden_size, self.q_dim(), self.kv_dim());
        match projection {
            Projection::Q => (h, q),
            Projection::K | Projection::V => (h, kv),
            Projection::O => (q, h),
            Projection::Gate | Projection::Up => (h, self.intermediate_size),
            Projection::Down => (self.intermediate_size, h),
        }
    }

    /// Width of q over all heads.
    pub fn q_dim(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of k, and of v, over all heads.
    pub fn kv_dim(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Rotary inverse frequencies, `[head_dim / 2]`, with Llama 3's scaling applied. The convention is half-split:
    /// element i is rotated with element i + head_dim/2.
    pub fn inverse_frequencies(&self) -> Vec<f32> {
        let half = self.head_dim / 2;
        (0..half)
            .map(|i| {
                let freq = 1.0 / self.rope_theta.powf(2.0 * i as f32 / self.head_dim as f32);
                match &self.rope_scaling {
                    None => freq,
                    Some(s) => scale_frequency(freq, s),
                }
            })
            .collect()
    }
}

/// Divides frequencies of long wavelengths by `factor`, keeps those of short ones, and interpolates between.
fn scale_frequency(freq: f32, s: &RopeScaling) -> f32 {
    let wavelength = 2.0 * std::f32::consts::PI / freq;
    let original = s.original_max_position as f32;
    if wavelength < original / s.high_freq_factor {
        freq
    } else if wavelength > original / s.low_freq_factor {
        freq / s.factor
    } else {
        let smooth =
            (original / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
        (1.0 - smooth) * freq / s.factor + smooth * freq
    }
}
