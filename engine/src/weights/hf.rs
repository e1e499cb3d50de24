//! A Hugging Face directory: `config.json`, `*.safetensors` (one file or shards with an index),
//! `tokenizer.json`, and if present `tokenizer_config.json`, `chat_template.jinja` and
//! `generation_config.json`.

use super::{ModelFiles, Source, Tensor, digest, hf_config};
use crate::chat::ChatTemplate;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub(super) fn open(dir: &Path) -> Result<ModelFiles> {
    let json = read_json(dir, "config.json")?.ok_or_else(|| {
        Error::model(
            dir,
            "has no config.json; a Hugging Face model directory needs one",
        )
    })?;
    let paths = weight_files(dir)?;
    let (shards, digest) = rayon::join(|| Shards::read(dir, &paths), || digest(&paths));
    let shards = shards?;
    let config = hf_config::parse(dir, &json, shards.shape("lm_head.weight").is_some())?;

    let tokenizer_path = dir.join("tokenizer.json");
    let bytes = std::fs::read(&tokenizer_path).map_err(|e| Error::io(&tokenizer_path, e))?;
    let (tokenizer, bos) = Tokenizer::from_json(&bytes)?;
    let about = read_json(dir, "tokenizer_config.json")?.unwrap_or(Value::Null);
    let generation = read_json(dir, "generation_config.json")?.unwrap_or(Value::Null);

    let spelling = |key: &str| token_spelling(&about[key]).unwrap_or("");
    let eos = stop_tokens(
        &tokenizer,
        spelling("eos_token"),
        &[&generation["eos_token_id"], &json["eos_token_id"]],
    );
    let chat_template = match template_source(dir, &about)? {
        Some(source) => Some(ChatTemplate::new(
            &source,
            spelling("bos_token"),
            spelling("eos_token"),
        )?),
        None => None,
    };
    Ok(ModelFiles {
        path: dir.into(),
        config,
        tokenizer,
        chat_template,
        eos,
        bos,
        digest: digest?,
        source: Source::Safetensors(shards),
    })
}

/// The tokens that end a completion: first the tokenizer's own end token, which ends turns in training, then those
/// of the first of `lists` that has any.
fn stop_tokens(tokenizer: &Tokenizer, spelling: &str, lists: &[&Value]) -> Vec<u32> {
    let mut eos: Vec<u32> = tokenizer.id_of(spelling).into_iter().collect();
    let listed = lists.iter().find(|v| !v.is_null());
    let ids = listed.map(|v| v.as_array().cloned().unwrap_or_else(|| vec![(*v).clone()]));
    for id in ids.unwrap_or_default().iter().filter_map(Value::as_u64) {
        if !eos.contains(&(id as u32)) {
            eos.push(id as u32);
        }
    }
    eos
}

/// `"<s>"` or `{"content": "<s>", …}`.
fn token_spelling(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// `chat_template.jinja`, or the template in `tokenizer_config.json` (of several, the default one).
fn template_source(dir: &Path, about: &Value) -> Result<Option<String>> {
    let path = dir.join("chat_template.jinja");
    if path.exists() {
        return std::fs::read_to_string(&path)
            .map(Some)
            .map_err(|e| Error::io(path, e));
    }
    Ok(match &about["chat_template"] {
        Value::String(source) => Some(source.clone()),
        Value::Array(named) => {
            let default = named.iter().find(|t| t["name"] == "default");
            default
                .and_then(|t| t["template"].as_str())
                .map(str::to_string)
        }
        _ => None,
    })
}

fn read_json(dir: &Path, name: &str) -> Result<Option<Value>> {
    let path = dir.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::model(&path, format!("is not valid JSON: {e}"))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io(path, e)),
    }
}

/// The files that the index names, or without an index every `*.safetensors`, in the order of their names.
fn weight_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    let names: Vec<String> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .collect();
    let mut files: Vec<String> = match read_json(dir, "model.safetensors.index.json")? {
        Some(index) => {
            let map = index["weight_map"].as_object();
            let map = map.ok_or_else(|| {
                Error::model(dir, "model.safetensors.index.json has no weight_map")
            })?;
            let listed: Vec<String> = map
                .values()
                .filter_map(|v| v.as_str().map(str::to_string))
                .collect();
            if let Some(file) = listed.iter().find(|f| !names.contains(f)) {
                return Err(Error::model(
                    dir,
                    format!("the index names {file}, which is not in the directory"),
                ));
            }
            listed
        }
        None => names
            .iter()
            .filter(|n| n.ends_with(".safetensors"))
            .cloned()
            .collect(),
    };
    files.sort();
    files.dedup();
    if files.is_empty() {
        let pickled = names
            .iter()
            .any(|n| n.ends_with(".bin") || n.ends_with(".pt") || n.ends_with(".pth"));
        return Err(Error::model(
            dir,
            if pickled {
                "has only pickled weights (.bin, .pt), which can run code when read; convert them to safetensors"
            } else {
                "has no *.safetensors file"
            },
        ));
    }
    Ok(files.iter().map(|f| dir.join(f)).collect())
}

pub(super) struct Shards {
    dir: PathBuf,
    /// The files' bytes.
    files: Vec<Vec<u8>>,
    /// Name → (file, first byte of its data section, the header's entry).
    tensors: HashMap<String, (usize, usize, TensorInfo)>,
}

impl Shards {
    fn read(dir: &Path, paths: &[PathBuf]) -> Result<Self> {
        let mut shards = Shards {
            dir: dir.into(),
            files: Vec::new(),
            tensors: HashMap::new(),
        };
        for path in paths {
            let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
            let (header, metadata) = SafeTensors::read_metadata(&bytes)
                .map_err(|e| Error::model(path, format!("not a readable safetensors file: {e}")))?;
            for (name, info) in metadata.tensors() {
                if !matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
                    return Err(Error::model(
                        path,
                        format!(
                            "tensor {name} is {:?}; only F32, F16 and BF16 are supported",
                            info.dtype
                        ),
                    ));
                }
                shards
                    .tensors
                    .insert(name, (shards.files.len(), header + 8, info.clone()));
            }
            shards.files.push(bytes);
        }
        Ok(shards)
    }

    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors
            .get(name)
            .map(|(_, _, info)| info.shape.clone())
    }

    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let (file, start, info) = self
            .tensors
            .get(name)
            .ok_or_else(|| Error::model(&self.dir, format!("has no tensor {name}")))?;
        let bytes = &self.files[*file][start + info.data_offsets.0..start + info.data_offsets.1];
        let data = match info.dtype {
            Dtype::F32 => to_f32(bytes, f32::from_le_bytes),
            Dtype::F16 => to_f32(bytes, |b| f16::from_le_bytes(b).to_f32()),
            _ => to_f32(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        };
        Ok(Tensor {
            shape: info.shape.clone(),
            data,
        })
    }
}

fn to_f32<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f32 + Sync) -> Vec<f32> {
    let (elements, _) = bytes.as_chunks::<N>();
    elements
        .par_iter()
        .with_min_len(1 << 14)
        .map(|b| f(*b))
        .collect()
}
