//! `config.json` to [`ModelConfig`]. Settings that the engine would silently ignore are refused.

use crate::config::{Family, ModelConfig, RopeScaling};
use crate::error::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// `tie_word_embeddings`; `None` if the file does not say.
pub(super) fn ties(dir: &Path, json: &Value) -> Result<Option<bool>> {
    match &json["tie_word_embeddings"] {
        Value::Null => Ok(None),
        Value::Bool(tied) => Ok(Some(*tied)),
        other => {
            let reason = format!("tie_word_embeddings must be true or false, it is {other}");
            Err(Config { dir, json }.wrong(reason))
        }
    }
}

/// The configuration, but for what the weights decide: `tie_word_embeddings` is false yet.
pub(super) fn parse(dir: &Path, json: &Value) -> Result<ModelConfig> {
    let config = Config { dir, json };
    let family = config.family()?;
    config.refuse_unsupported(family)?;
    let hidden_size = config.need("hidden_size")?;
    let num_heads = config.need("num_attention_heads")?;
    let num_kv_heads = config.number("num_key_value_heads").unwrap_or(num_heads);
    // transformers' defaults.
    let head_dim = config.number("head_dim").unwrap_or(match family {
        Family::Qwen3 => 128,
        Family::Llama | Family::Qwen2 => hidden_size / num_heads,
    });
    if num_kv_heads == 0 || head_dim == 0 || head_dim % 2 == 1 || num_heads % num_kv_heads != 0 {
        return Err(config.wrong(format!(
            "{num_heads} heads over {num_kv_heads} key-value heads of {head_dim} make no attention"
        )));
    }
    Ok(ModelConfig {
        family,
        vocab_size: config.need("vocab_size")?,
        hidden_size,
        intermediate_size: config.need("intermediate_size")?,
        num_layers: config.need("num_hidden_layers")?,
        num_heads,
        num_kv_heads,
        head_dim,
        rope_theta: config.rope()["rope_theta"]
            .as_f64()
            .or_else(|| json["rope_theta"].as_f64())
            .unwrap_or(10_000.0) as f32,
        rope_scaling: config.rope_scaling()?,
        rms_norm_eps: json["rms_norm_eps"].as_f64().unwrap_or(1e-6) as f32,
        tie_word_embeddings: false,
        qkv_bias: family == Family::Qwen2,
        qk_norm: family == Family::Qwen3,
        max_position: config.need("max_position_embeddings")?,
    })
}

struct Config<'a> {
    dir: &'a Path,
    json: &'a Value,
}

impl Config<'_> {
    fn wrong(&self, reason: impl std::fmt::Display) -> Error {
        Error::model(self.dir, format!("config.json: {reason}"))
    }

    fn number(&self, key: &str) -> Option<usize> {
        self.json[key].as_u64().map(|v| v as usize)
    }

    fn need(&self, key: &str) -> Result<usize> {
        let value = self.number(key).filter(|v| *v > 0);
        value.ok_or_else(|| {
            self.wrong(format!(
                "{key} must be a positive integer, it is {}",
                self.json[key]
            ))
        })
    }

    fn family(&self) -> Result<Family> {
        match self.json["model_type"].as_str().unwrap_or("") {
            "llama" => Ok(Family::Llama),
            "qwen2" => Ok(Family::Qwen2),
            "qwen3" => Ok(Family::Qwen3),
            other => Err(self.wrong(format!(
                "model_type {other:?} is not supported; llama, qwen2 and qwen3 are"
            ))),
        }
    }

    fn refuse_unsupported(&self, family: Family) -> Result<()> {
        let json = self.json;
        if !json["quantization_config"].is_null() {
            return Err(self.wrong(
                "quantised Hugging Face weights (quantization_config) are not supported; take the model's GGUF or its full weights",
            ));
        }
        let activation = json["hidden_act"].as_str().unwrap_or("silu");
        // Two names of one function.
        if !["silu", "swish"].contains(&activation) {
            return Err(self.wrong(format!(
                "hidden_act {activation:?} is not supported; \"silu\" is"
            )));
        }
        let layer_types = json["layer_types"].as_array().into_iter().flatten();
        if let Some(other) = layer_types
            .into_iter()
            .find(|kind| *kind != "full_attention")
        {
            return Err(self.wrong(format!(
                "layer_types holds {other}, which is not supported; \"full_attention\" is"
            )));
        }
        let rotated = [
            &json["partial_rotary_factor"],
            &self.rope()["partial_rotary_factor"],
        ];
        if let Some(part) = rotated
            .into_iter()
            .find(|v| !v.is_null() && v.as_f64() != Some(1.0))
        {
            return Err(self.wrong(format!(
                "partial_rotary_factor = {part} is not supported; 1 is"
            )));
        }
        for key in ["attention_bias", "mlp_bias", "use_sliding_window"] {
            if json[key].as_bool() == Some(true)
                && !(family == Family::Qwen2 && key == "attention_bias")
            {
                return Err(self.wrong(format!("{key} = true is not supported")));
            }
        }
        Ok(())
    }

    /// transformers 5 writes `rope_parameters`, earlier versions `rope_scaling` beside `rope_theta`. Of both
    /// transformers takes `rope_scaling`.
    fn rope(&self) -> &Value {
        match &self.json["rope_scaling"] {
            Value::Object(scaling) if !scaling.is_empty() => &self.json["rope_scaling"],
            _ => &self.json["rope_parameters"],
        }
    }

    fn rope_scaling(&self) -> Result<Option<RopeScaling>> {
        let rope = self.rope();
        let kind = rope["rope_type"]
            .as_str()
            .or_else(|| rope["type"].as_str())
            .unwrap_or("default");
        match kind {
            "default" => return Ok(None),
            "llama3" => {}
            other => {
                return Err(self.wrong(format!(
                    "rope type {other:?} is not supported; \"default\" and \"llama3\" are"
                )));
            }
        }
        let need = |key: &str| {
            let value = rope[key].as_f64().filter(|v| *v > 0.0);
            value.ok_or_else(|| self.wrong(format!("llama3 rope scaling needs a positive {key}")))
        };
        Ok(Some(RopeScaling {
            factor: need("factor")? as f32,
            low_freq_factor: need("low_freq_factor")? as f32,
            high_freq_factor: need("high_freq_factor")? as f32,
            original_max_position: need("original_max_position_embeddings")? as usize,
        }))
    }
}
