//! Adapters in PEFT's format: `adapter_config.json` and `adapter_model.safetensors`, as `peft` and vLLM read and
//! write them. The same adapter always gives the same bytes, so the digest of the bytes can name it.
//!
//! ```
//! use autodidact_engine::lora::{Lora, LoraConfig, peft};
//! use autodidact_engine::{Family, tiny};
//!
//! # let dir = tempfile::tempdir()?;
//! let model = tiny::tiny_config(Family::Llama);
//! let lora = Lora::random(LoraConfig::all_linear(4, 8.0), &model, 0);
//! peft::save_dir(dir.path(), &peft::to_files(&lora, "my-base-model"))?;
//! let files = peft::load_dir(dir.path())?;
//! assert_eq!(peft::from_files(&files.config_json, &files.safetensors, &model)?, lora);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;

use self::config::{PeftConfig, config_json};
use super::{Lora, LoraConfig, LoraPair};
use crate::config::{ModelConfig, Projection};
use crate::error::{Error, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;

/// The file name of an adapter's configuration.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The file name of an adapter's tensors.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

const PREFIX: &str = "base_model.model.model.layers.";

/// The bytes of an adapter's two files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeftFiles {
    pub config_json: Vec<u8>,
    pub safetensors: Vec<u8>,
}

/// Writes an adapter; tensors are f32. `base_model` is written into the configuration for its reader alone.
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
        config_json: config_json(lora, base_model),
        safetensors: safetensors::serialize(views, Some(metadata))
            .expect("names and shapes always fit a header"),
    }
}

/// Reads an adapter that PEFT wrote.
///
/// # Errors
/// [`Error::Adapter`] if a file is damaged, if the adapter is not a plain LoRA of linear layers, or if it does not fit
/// `model`.
pub fn from_files(config_json: &[u8], safetensors: &[u8], model: &ModelConfig) -> Result<Lora> {
    let config: PeftConfig = serde_json::from_slice(config_json)
        .map_err(|e| Error::Adapter(format!("{CONFIG_FILE} is not a PEFT configuration: {e}")))?;
    config.check()?;
    let file = SafeTensors::deserialize(safetensors).map_err(damaged)?;
    let (rank, mut layers) = (config.r, empty_layers(model));
    // Sorted, so that the same damaged file always gets the same complaint.
    let mut tensors: Vec<_> = file.iter().collect();
    tensors.sort_unstable_by_key(|(name, _)| *name);
    for (name, tensor) in tensors {
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

/// Writes the two files into `dir`, which is created if need be.
///
/// # Errors
/// [`Error::Io`] names the file.
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

/// Reads the two files of `dir`, without parsing them.
///
/// # Errors
/// [`Error::Io`] names the file.
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

/// `sha256:<hex>` over both files, each preceded by its length in 8 bytes, little-endian.
pub fn digest(files: &PeftFiles) -> String {
    let mut hash = Sha256::new();
    for bytes in [&files.config_json, &files.safetensors] {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    let hex: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

type PartialPair = (Option<Vec<f32>>, Option<Vec<f32>>);

enum Part {
    A,
    B,
}

fn empty_layers(model: &ModelConfig) -> Vec<[PartialPair; 7]> {
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

fn present(layers: &[[PartialPair; 7]]) -> Vec<Projection> {
    let has = |p: &Projection| layers.iter().any(|layer| layer[p.index()].0.is_some());
    Projection::ALL.into_iter().filter(has).collect()
}

fn pairs(l: usize, layer: [PartialPair; 7]) -> Result<[Option<LoraPair>; 7]> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;
    use serde_json::{Value, json};

    fn model() -> ModelConfig {
        ModelConfig {
            family: Family::Llama,
            vocab_size: 32,
            hidden_size: 8,
            intermediate_size: 12,
            num_layers: 2,
            num_heads: 2,
            num_kv_heads: 1,
            head_dim: 4,
            rope_theta: 1e4,
            rope_scaling: None,
            rms_norm_eps: 1e-5,
            tie_word_embeddings: true,
            qkv_bias: false,
            qk_norm: false,
            max_position: 64,
        }
    }

    fn lora() -> Lora {
        Lora::random(LoraConfig::all_linear(2, 4.0), &model(), 3)
    }

    fn read(files: &PeftFiles) -> Result<Lora> {
        from_files(&files.config_json, &files.safetensors, &model())
    }

    /// Reads the adapter with some keys of its configuration changed.
    fn with(changes: Value) -> Result<Lora> {
        let mut files = to_files(&lora(), "base");
        let mut config: Value = serde_json::from_slice(&files.config_json).unwrap();
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        files.config_json = serde_json::to_vec(&config).unwrap();
        read(&files)
    }

    #[test]
    fn comes_back_as_it_went() {
        let mut partial = lora();
        partial.layers[1] = [const { None }; 7];
        let config = String::from_utf8(to_files(&partial, "base").config_json).unwrap();
        let compact: String = config.split_whitespace().collect();
        assert!(compact.contains("\"layers_to_transform\":[0]"), "{config}");
        for lora in [lora(), partial] {
            let files = to_files(&lora, "base");
            assert_eq!(files, to_files(&lora, "base"));
            assert_eq!(read(&files).unwrap(), lora);
        }
    }

    #[test]
    fn the_digest_names_the_bytes() {
        let files = to_files(&lora(), "base");
        let other = to_files(&lora(), "another");
        assert_eq!(digest(&files), digest(&files.clone()));
        assert_ne!(digest(&files), digest(&other));
        assert_eq!(digest(&files).len(), "sha256:".len() + 64);
    }

    #[test]
    fn directories_hold_the_two_files() {
        let dir = tempfile::tempdir().unwrap();
        let (path, files) = (dir.path().join("a/b"), to_files(&lora(), "base"));
        save_dir(&path, &files).unwrap();
        assert_eq!(load_dir(&path).unwrap(), files);
        let missing = load_dir(dir.path()).unwrap_err().to_string();
        assert!(missing.contains(CONFIG_FILE), "{missing}");
    }

    #[test]
    fn rank_stabilised_scale_is_folded_in() {
        let lora = with(json!({"use_rslora": true, "lora_alpha": 3})).unwrap();
        assert!((lora.config.scale() - 3.0 / 2f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_plain_lora_is_refused_by_name() {
        for (changes, said) in [
            (json!({"peft_type": "IA3"}), "peft_type is \"IA3\""),
            (json!({"use_dora": true}), "use_dora"),
            (json!({"bias": "all"}), "bias"),
            (json!({"modules_to_save": ["lm_head"]}), "modules_to_save"),
            (json!({"rank_pattern": {"q_proj": 8}}), "rank_pattern"),
            (json!({"alpha_pattern": {"q_proj": 8}}), "alpha_pattern"),
            (
                json!({"target_modules": ["q_proj", "lm_head"]}),
                "\"lm_head\"",
            ),
            (
                json!({"r": 3}),
                "has shape [2, 12], but r = 3 on this model takes [3, 12]",
            ),
        ] {
            let error = with(changes).unwrap_err().to_string();
            assert!(error.contains(said), "{error:?} instead of {said:?}");
        }
    }

    fn one_tensor(name: &str, dtype: Dtype, bytes: &[u8], shape: [usize; 2]) -> Result<Lora> {
        let view = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
        let config = json!({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ".*"});
        let safetensors = safetensors::serialize([(name, view)], None).unwrap();
        from_files(config.to_string().as_bytes(), &safetensors, &model())
    }

    #[test]
    fn tensors_that_do_not_belong_are_named() {
        let bytes = [0; 64];
        for (name, said) in [
            ("base_model.model.lm_head.lora_A.weight", "lm_head"),
            (
                "base_model.model.model.layers.2.mlp.up_proj.lora_A.weight",
                "has 2 layers",
            ),
            (
                "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight",
                "only one of",
            ),
        ] {
            let error = one_tensor(name, Dtype::F32, &bytes, [2, 8]).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
        let name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight";
        let error = one_tensor(name, Dtype::F64, &[0; 128], [2, 8]).unwrap_err();
        assert!(error.to_string().contains("F64"), "{error}");
        let error = from_files(b"{}", &[], &model()).unwrap_err().to_string();
        assert!(error.contains(CONFIG_FILE), "{error}");
        let config = to_files(&lora(), "base").config_json;
        let error = from_files(&config, &[1, 2, 3], &model()).unwrap_err();
        assert!(error.to_string().contains(WEIGHTS_FILE), "{error}");
    }

    #[test]
    fn half_precision_is_widened() {
        let lora = lora();
        let full = to_files(&lora, "base");
        let file = SafeTensors::deserialize(&full.safetensors).unwrap();
        let halves: Vec<_> = file
            .iter()
            .map(|(name, tensor)| {
                let values = floats(name, &tensor).unwrap();
                let bytes = values
                    .iter()
                    .flat_map(|x| half::bf16::from_f32(*x).to_le_bytes());
                (name, tensor.shape().to_vec(), bytes.collect::<Vec<u8>>())
            })
            .collect();
        let views = halves.iter().map(|(name, shape, bytes)| {
            (
                name,
                TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap(),
            )
        });
        let bytes = safetensors::serialize(views, None).unwrap();
        let read = from_files(&full.config_json, &bytes, &model()).unwrap();
        let (got, want) = (&read.layers[1][6], &lora.layers[1][6]);
        let (got, want) = (got.as_ref().unwrap(), want.as_ref().unwrap());
        for (x, y) in got.b.iter().zip(&want.b) {
            assert!((x - y).abs() <= y.abs() / 128.0);
        }
    }
}
