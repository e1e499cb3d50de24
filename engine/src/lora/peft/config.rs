//! `adapter_config.json`: the entries that are written, and those that are refused when read.

use super::{CONFIG_FILE, Lora};
use crate::config::Projection;
use crate::error::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn config_json(lora: &Lora, base_model: &str) -> Vec<u8> {
    let config = &lora.config;
    // PEFT expects a pair in every layer unless the file lists the layers that have one.
    let bare = |layer: &[Option<_>; 7]| layer.iter().all(Option::is_none);
    let layers = match lora.layers.iter().any(bare) {
        false => Value::Null,
        true => {
            let indexed = lora.layers.iter().enumerate();
            json!(
                indexed
                    .filter(|(_, l)| !bare(l))
                    .map(|(i, _)| i)
                    .collect::<Vec<_>>()
            )
        }
    };
    // PEFT and vLLM expect a whole alpha as an integer.
    let alpha = match config.alpha {
        a if a.fract() == 0.0 => json!(a as i64),
        a => json!(a),
    };
    let targets: Vec<&str> = config.targets.iter().map(|p| p.name()).collect();
    // A map sorted by key: the bytes must not depend on serde_json's features.
    let entries = BTreeMap::from([
        ("peft_type", json!("LORA")),
        ("task_type", json!("CAUSAL_LM")),
        ("auto_mapping", Value::Null),
        ("base_model_name_or_path", json!(base_model)),
        ("revision", Value::Null),
        ("inference_mode", json!(true)),
        ("r", json!(config.rank)),
        ("lora_alpha", alpha),
        ("lora_dropout", json!(0.0)),
        ("target_modules", json!(targets)),
        ("bias", json!("none")),
        ("fan_in_fan_out", json!(false)),
        ("init_lora_weights", json!(true)),
        ("use_rslora", json!(false)),
        ("use_dora", json!(false)),
        ("modules_to_save", Value::Null),
        ("layers_to_transform", layers),
        ("layers_pattern", Value::Null),
        ("rank_pattern", json!({})),
        ("alpha_pattern", json!({})),
    ]);
    let mut bytes = serde_json::to_vec_pretty(&entries).expect("plain values always serialise");
    bytes.push(b'\n');
    bytes
}

/// The entries that decide whether and how an adapter can be applied.
#[derive(Deserialize)]
pub(super) struct PeftConfig {
    peft_type: String,
    pub r: usize,
    lora_alpha: f32,
    #[serde(default)]
    target_modules: Value,
    #[serde(default)]
    bias: Option<String>,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    lora_bias: bool,
    #[serde(default)]
    modules_to_save: Value,
    #[serde(default)]
    rank_pattern: Value,
    #[serde(default)]
    alpha_pattern: Value,
}

impl PeftConfig {
    pub fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::Adapter(format!("{CONFIG_FILE}: {reason}")));
        if self.peft_type != "LORA" {
            return refuse(format!(
                "peft_type is {:?}, only \"LORA\" is supported",
                self.peft_type
            ));
        }
        if self.r == 0 {
            return refuse("r must be at least 1".into());
        }
        if !self.lora_alpha.is_finite() {
            return refuse("lora_alpha must be a finite number".into());
        }
        if self.use_dora {
            return refuse("use_dora is not supported, only plain LoRA".into());
        }
        if self.lora_bias || self.bias.as_deref().is_some_and(|b| b != "none") {
            return refuse("trained biases are not supported, bias must be \"none\"".into());
        }
        for (key, value) in [
            ("modules_to_save", &self.modules_to_save),
            ("rank_pattern", &self.rank_pattern),
            ("alpha_pattern", &self.alpha_pattern),
        ] {
            if !is_empty(value) {
                return refuse(format!("{key} is not supported, it must be empty"));
            }
        }
        // A string is a pattern over module names; the tensors then say what it matched.
        for target in self.target_modules.as_array().into_iter().flatten() {
            let name = target.as_str().unwrap_or_default();
            let last = name.rsplit('.').next().unwrap_or_default();
            if Projection::from_name(last).is_none() {
                return refuse(format!(
                    "target_modules names {target}, which is not a linear layer of a decoder \
                     layer ({})",
                    Projection::ALL.map(Projection::name).join(", ")
                ));
            }
        }
        Ok(())
    }

    /// The alpha that gives the same scale without rank stabilisation (`alpha / √r` there).
    pub fn plain_alpha(&self) -> f32 {
        if self.use_rslora {
            self.lora_alpha * (self.r as f32).sqrt()
        } else {
            self.lora_alpha
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}
