//! The tensors of a Hugging Face directory's `*.safetensors` files, by the names that transformers gives them.

use super::hf::read_json;
use super::{Tensor, tensors_of};
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The weights' files in the order of their names: `model.safetensors` as in transformers, else those that the index
/// names, else every `*.safetensors`.
pub(super) fn weight_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    let names: Vec<String> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .collect();
    const WHOLE: &str = "model.safetensors";
    let mut files: Vec<String> = match read_json(dir, "model.safetensors.index.json")? {
        _ if names.iter().any(|name| name == WHOLE) => vec![WHOLE.to_owned()],
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

/// A tensor's name as transformers reads it: the prefix `model.` may be missing, or be there more than once.
fn canonical(name: &str) -> String {
    let bare = name.trim_start_matches("model.");
    match bare.starts_with("lm_head.") {
        true => bare.to_owned(),
        false => format!("model.{bare}"),
    }
}

pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
pub(super) const HEAD: &str = "lm_head.weight";

impl Shards {
    pub fn read(dir: &Path, paths: &[PathBuf]) -> Result<Self> {
        let mut shards = Shards {
            dir: dir.into(),
            files: Vec::new(),
            tensors: HashMap::new(),
        };
        let mut renamed = Vec::new();
        for path in paths {
            let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
            let (header, metadata) = SafeTensors::read_metadata(&bytes)
                .map_err(|e| Error::model(path, format!("not a readable safetensors file: {e}")))?;
            for (name, info) in metadata.tensors() {
                let place = (shards.files.len(), header + 8, info.clone());
                match canonical(&name) {
                    own if own == name => {
                        shards.tensors.insert(name, place);
                    }
                    other => renamed.push((other, place)),
                }
            }
            shards.files.push(bytes);
        }
        // A tensor of the very name goes before.
        for (name, place) in renamed {
            shards.tensors.entry(name).or_insert(place);
        }
        Ok(shards)
    }

    /// Whether the output projection is the embedding. transformers ties them if the configuration says so, but keeps
    /// two that differ in the file apart; if only one is there, it serves as both.
    pub fn tie(&mut self, wanted: bool) -> Result<bool> {
        let head = self.tensors.get(HEAD).cloned();
        match (wanted, self.tensors.contains_key(EMBEDDING), head) {
            (false, ..) => Ok(false),
            (true, false, Some(head)) => {
                self.tensors.insert(EMBEDDING.to_owned(), head);
                Ok(true)
            }
            (true, true, Some(_)) => Ok(self.tensor(HEAD)? == self.tensor(EMBEDDING)?),
            (true, _, None) => Ok(true),
        }
    }

    /// Refuses tensors of the configuration in a type that is not read, and names those that belong to no part of it.
    pub fn check(&self, config: &ModelConfig) -> Result<()> {
        let wanted = tensors_of(config);
        for (name, _) in &wanted {
            if let Some((_, _, info)) = self.tensors.get(name)
                && !matches!(
                    info.dtype,
                    Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16
                )
            {
                return Err(Error::model(
                    &self.dir,
                    format!(
                        "tensor {name} is {:?}; only F64, F32, F16 and BF16 are supported",
                        info.dtype
                    ),
                ));
            }
        }
        let known = |name: &str| {
            name == HEAD
                || name.ends_with("rotary_emb.inv_freq")
                || wanted.iter().any(|(wanted, _)| wanted == name)
        };
        let mut unknown: Vec<&String> = self.tensors.keys().filter(|name| !known(name)).collect();
        unknown.sort();
        if !unknown.is_empty() {
            let (count, first) = (unknown.len(), &unknown[..unknown.len().min(5)]);
            tracing::warn!(
                count,
                ?first,
                "the weights hold tensors that this model does not use"
            );
        }
        Ok(())
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
            Dtype::F64 => to_f32(bytes, |b| f64::from_le_bytes(b) as f32),
            Dtype::F16 => to_f32(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => to_f32(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            other => {
                let reason = format!(
                    "tensor {name} is {other:?}; only F64, F32, F16 and BF16 are supported"
                );
                return Err(Error::model(&self.dir, reason));
            }
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
