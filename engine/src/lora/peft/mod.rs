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
mod config_out;
mod convert;
mod fields;
mod patterns;
mod read;
mod sniff;
mod tensors;

pub use convert::{TensorType, in_type};
pub use read::from_files;

use self::config_out::config_json;
use super::{Lora, LoraPair};
use crate::config::Projection;
use crate::error::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
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

/// Writes an adapter of pairs alone, as training makes it (one with [`super::Extras`] has its own files already);
/// tensors are f32. `base_model` is written into the configuration for its reader alone.
pub fn to_files(lora: &Lora, base_model: &str) -> PeftFiles {
    debug_assert!(lora.extras.is_none(), "extras have no files of ours");
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

#[cfg(test)]
mod tests;
