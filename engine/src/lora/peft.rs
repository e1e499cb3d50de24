//! Adapters as PEFT stores them: `adapter_config.json` and `adapter_model.safetensors`, readable by
//! `peft`, vLLM and this engine. The same adapter always gives the same bytes, so that the digest
//! of the bytes can name it.

use super::{Lora, LoraConfig, LoraPair};
use crate::config::{ModelConfig, Projection};
use crate::error::{Error, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

pub const CONFIG_FILE: &str = "adapter_config.json";
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

const PREFIX: &str = "base_model.model.model.layers.";

/// The two files of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeftFiles {
    pub config_json: Vec<u8>,
    pub safetensors: Vec<u8>,
}

/// `base_model` goes into the configuration for the reader; nothing is looked up there.
pub fn to_files(lora: &Lora, base_model: &str) -> PeftFiles {
    let rank = lora.config.rank;
    let mut tensors = Vec::new();
    for (l, layer) in lora.layers.iter().enumerate() {
        for (p, pair) in Projection::ALL.into_iter().zip(layer) {
            let Some(LoraPair { a, b }) = pair else {
                continue;
            };
            for (part, values, shape) in [
                ("lora_A", a, [rank, a.len() / rank]),
                ("lora_B", b, [b.len() / rank, rank]),
            ] {
                let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                let name = format!("{PREFIX}{l}.{}.{part}.weight", p.path());
                tensors.push((name, shape, bytes));
            }
        }
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
        (
            name,
            view.expect("the matrices have `rank` rows or columns"),
        )
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    PeftFiles {
        config_json: config_json(&lora.config, base_model),
        safetensors: safetensors::serialize(views, Some(metadata))
            .expect("names and shapes always fit a header"),
    }
}

/// Reads what PEFT wrote, if this engine can apply it to `model`.
pub fn from_files(config_json: &[u8], safetensors: &[u8], model: &ModelConfig) -> Result<Lora> {
    let config: PeftConfig = serde_json::from_slice(config_json)
        .map_err(|e| Error::Adapter(format!("{CONFIG_FILE} is not a PEFT configuration: {e}")))?;
    config.check()?;
    let file = SafeTensors::deserialize(safetensors).map_err(damaged)?;
    let (rank, mut layers) = (config.r, empty_layers(model));
    for (name, tensor) in file.iter() {
        let (layer, projection, part) = parse_name(name, model)?;
        let (inputs, outputs) = model.features(projection);
        let want = match part {
            Part::A => [rank, inputs],
            Part::B => [outputs, rank],
        };
        if tensor.shape() != want {
            return Err(Error::Adapter(format!(
                "tensor {name} has shape {:?}, but r = {rank} on this model takes {want:?}",
                tensor.shape()
            )));
        }
        let pair = &mut layers[layer][projection.index()];
        match part {
            Part::A => pair.0 = Some(floats(name, &tensor)?),
            Part::B => pair.1 = Some(floats(name, &tensor)?),
        }
    }
    let lora = Lora {
        config: LoraConfig {
            rank,
            alpha: config.plain_alpha(),
            targets: present(&layers),
        },
        layers: layers
            .into_iter()
            .enumerate()
            .map(|(l, layer)| pairs(l, layer))
            .collect::<Result<_>>()?,
    };
    if lora.config.targets.is_empty() {
        return Err(Error::Adapter(format!(
            "{WEIGHTS_FILE} holds no LoRA tensor"
        )));
    }
    Ok(lora)
}

pub fn save_dir(dir: &Path, files: &PeftFiles) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, e))?;
    for (name, bytes) in [
        (CONFIG_FILE, &files.config_json),
        (WEIGHTS_FILE, &files.safetensors),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(|e| Error::io(path, e))?;
    }
    Ok(())
}

pub fn load_dir(dir: &Path) -> Result<PeftFiles> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read(&path).map_err(|e| Error::io(path, e))
    };
    Ok(PeftFiles {
        config_json: read(CONFIG_FILE)?,
        safetensors: read(WEIGHTS_FILE)?,
    })
}

/// `sha256:…` over both files, each preceded by its length.
pub fn digest(files: &PeftFiles) -> String {
    let mut hash = Sha256::new();
    for bytes in [&files.config_json, &files.safetensors] {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

fn config_json(config: &LoraConfig, base_model: &str) -> Vec<u8> {
    // PEFT and vLLM expect a whole number where it is one.
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
        ("layers_to_transform", Value::Null),
        ("layers_pattern", Value::Null),
        ("rank_pattern", json!({})),
        ("alpha_pattern", json!({})),
    ]);
    let mut bytes = serde_json::to_vec_pretty(&entries).expect("plain values always serialise");
    bytes.push(b'\n');
    bytes
}

/// The keys that decide whether and how an adapter can be applied.
#[derive(Deserialize)]
struct PeftConfig {
    peft_type: String,
    r: usize,
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
    fn check(&self) -> Result<()> {
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
    fn plain_alpha(&self) -> f32 {
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

type Halves = (Option<Vec<f32>>, Option<Vec<f32>>);

enum Part {
    A,
    B,
}

fn empty_layers(model: &ModelConfig) -> Vec<[Halves; 7]> {
    (0..model.num_layers).map(|_| Default::default()).collect()
}

fn parse_name(name: &str, model: &ModelConfig) -> Result<(usize, Projection, Part)> {
    let parse = || {
        let (layer, rest) = name.strip_prefix(PREFIX)?.split_once('.')?;
        let (path, part) = match rest.strip_suffix(".lora_A.weight") {
            Some(path) => (path, Part::A),
            None => (rest.strip_suffix(".lora_B.weight")?, Part::B),
        };
        let projection = Projection::ALL.into_iter().find(|p| p.path() == path)?;
        Some((layer.parse::<usize>().ok()?, projection, part))
    };
    let Some((layer, projection, part)) = parse() else {
        return Err(Error::Adapter(format!(
            "tensor {name} is not a LoRA matrix of a decoder's linear layer \
             (such as {PREFIX}0.self_attn.q_proj.lora_A.weight)"
        )));
    };
    if layer >= model.num_layers {
        return Err(Error::Adapter(format!(
            "tensor {name} belongs to layer {layer}, the model has {} layers",
            model.num_layers
        )));
    }
    Ok((layer, projection, part))
}

fn floats(name: &str, tensor: &TensorView) -> Result<Vec<f32>> {
    let data = tensor.data();
    let halves = || data.as_chunks::<2>().0.iter();
    let values: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => data
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        Dtype::F16 => halves()
            .map(|b| half::f16::from_le_bytes(*b).to_f32())
            .collect(),
        Dtype::BF16 => halves()
            .map(|b| half::bf16::from_le_bytes(*b).to_f32())
            .collect(),
        other => {
            return Err(Error::Adapter(format!(
                "tensor {name} is of type {other:?}; F32, F16 and BF16 are supported"
            )));
        }
    };
    match values.iter().all(|x| x.is_finite()) {
        true => Ok(values),
        false => Err(Error::Adapter(format!(
            "tensor {name} holds NaN or infinity"
        ))),
    }
}

fn present(layers: &[[Halves; 7]]) -> Vec<Projection> {
    let has = |p: &Projection| layers.iter().any(|layer| layer[p.index()].0.is_some());
    Projection::ALL.into_iter().filter(has).collect()
}

fn pairs(l: usize, layer: [Halves; 7]) -> Result<[Option<LoraPair>; 7]> {
    let mut pairs = [const { None }; 7];
    for (p, halves) in Projection::ALL.into_iter().zip(layer) {
        pairs[p.index()] = match halves {
            (Some(a), Some(b)) => Some(LoraPair { a, b }),
            (None, None) => None,
            _ => {
                return Err(Error::Adapter(format!(
                    "layer {l} {} has only one of lora_A and lora_B",
                    p.name()
                )));
            }
        };
    }
    Ok(pairs)
}

fn damaged(error: safetensors::SafeTensorError) -> Error {
    Error::Adapter(format!("{WEIGHTS_FILE} is damaged: {error}"))
}
