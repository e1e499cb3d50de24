//! A model's files, read once: configuration, tokenizer, chat template and weights.
//!
//! A model is a `.gguf` file or a Hugging Face directory (`config.json`, `*.safetensors`, `tokenizer.json`).
//! Both have one interface: tensors have Hugging Face's names (`model.layers.0.self_attn.q_proj.weight`), are
//! row-major f32, and have rotary projections in the half-split order. So executors and PEFT adapters do not
//! depend on a model's source.
//!
//! [`ModelFiles::open`] checks that every tensor of the configuration is there in its shape. After that,
//! [`ModelFiles::tensor`] fails only if a file changes. Pickled weights (`.bin`, `.pt`) are never read, because
//! unpickling runs code.

mod blocks;
mod gguf;
mod gguf_file;
mod gguf_tokenizer;
pub(crate) mod gguf_write;
mod hf;
mod hf_config;
mod merged;
mod shards;

pub(crate) use gguf::gguf_name;
pub use gguf_write::GgufType;
pub use merged::Merged;

pub use blocks::{BLOCK, BlockRow, Blocks, Matrix};

use crate::chat::ChatTemplate;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A tensor of the base model.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    /// Row-major.
    pub data: Vec<f32>,
}

/// An opened model: everything but the computation.
///
/// ```
/// use autodidact_engine::{Family, ModelFiles, tiny};
///
/// let dir = tempfile::tempdir()?;
/// tiny::write_tiny(dir.path(), Family::Llama, 0)?; // or any model of a supported family
/// let files = ModelFiles::open(dir.path())?;
/// let tokens = files.tokenizer.encode("the user")?;
/// assert_eq!(files.tokenizer.decode(&tokens, false), "the user");
/// assert_eq!(files.tensor("model.norm.weight")?.shape, [files.config.hidden_size]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ModelFiles {
    pub path: PathBuf,
    pub config: ModelConfig,
    pub tokenizer: Tokenizer,
    pub chat_template: Option<ChatTemplate>,
    /// Tokens that end a completion. The first one is what training examples should end with.
    pub eos: Vec<u32>,
    /// The token that every plain text starts with, if the model has one. A chat template writes its own.
    pub bos: Option<u32>,
    /// `sha256:<hex>` of the weight files' bytes, end to end in the order of their names.
    pub digest: String,
    source: Source,
}

enum Source {
    Gguf(gguf::Gguf),
    Safetensors(shards::Shards),
}

impl ModelFiles {
    /// Opens a `.gguf` file or a Hugging Face directory.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read, [`Error::Model`] if it is damaged, incomplete or of an unsupported
    /// kind, [`Error::Tokenizer`] or [`Error::Template`] likewise.
    pub fn open(path: &Path) -> Result<Self> {
        let about = std::fs::metadata(path).map_err(|e| Error::io(path, e))?;
        let files = if about.is_dir() {
            hf::open(path)?
        } else if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
        {
            gguf::open(path)?
        } else {
            return Err(Error::model(
                path,
                "neither a .gguf file nor a Hugging Face directory (config.json, *.safetensors, tokenizer.json)",
            ));
        };
        files.validate()?;
        Ok(files)
    }

    /// One tensor by its Hugging Face name, in f32. May be called from many threads at once.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        match &self.source {
            Source::Gguf(gguf) => gguf.tensor(name),
            Source::Safetensors(shards) => shards.tensor(name),
        }
    }

    /// [`ModelFiles::tensor`] for a matrix, but as codes and scales if the file is quantised in that form.
    pub fn matrix(&self, name: &str) -> Result<Matrix> {
        match &self.source {
            Source::Gguf(gguf) => gguf.matrix(name),
            Source::Safetensors(shards) => Ok(Matrix::Floats(shards.tensor(name)?.data)),
        }
    }

    /// Whether the model has a tensor of that Hugging Face name.
    pub fn has(&self, name: &str) -> bool {
        self.shape(name).is_some()
    }

    /// A tensor's shape, without reading the tensor.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        match &self.source {
            Source::Gguf(gguf) => gguf.shape(name),
            Source::Safetensors(shards) => shards.shape(name),
        }
    }

    /// Checks tensors, vocabulary and end tokens against the configuration.
    fn validate(&self) -> Result<()> {
        for (name, expected) in tensors_of(&self.config) {
            match self.shape(&name) {
                None => return Err(Error::model(&self.path, format!("has no tensor {name}"))),
                Some(shape) if shape != expected => {
                    return Err(Error::model(
                        &self.path,
                        format!(
                            "tensor {name} has shape {shape:?}, the configuration says {expected:?}"
                        ),
                    ));
                }
                Some(_) => {}
            }
        }
        if self.tokenizer.vocab_size() > self.config.vocab_size {
            return Err(Error::model(
                &self.path,
                format!(
                    "the tokenizer has {} tokens, the embedding only {} rows",
                    self.tokenizer.vocab_size(),
                    self.config.vocab_size
                ),
            ));
        }
        match self
            .eos
            .iter()
            .find(|t| **t as usize >= self.config.vocab_size)
        {
            Some(t) => Err(Error::model(
                &self.path,
                format!("end token {t} is outside the vocabulary"),
            )),
            None => Ok(()),
        }
    }
}

/// Names and shapes of all tensors of a model of this configuration.
pub fn tensors_of(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let hidden = config.hidden_size;
    let mut all = vec![
        (
            "model.embed_tokens.weight".to_string(),
            vec![config.vocab_size, hidden],
        ),
        ("model.norm.weight".to_string(), vec![hidden]),
    ];
    if !config.tie_word_embeddings {
        all.push((
            "lm_head.weight".to_string(),
            vec![config.vocab_size, hidden],
        ));
    }
    for layer in 0..config.num_layers {
        let mut add = |name: &str, shape: Vec<usize>| {
            all.push((format!("model.layers.{layer}.{name}"), shape))
        };
        add("input_layernorm.weight", vec![hidden]);
        add("post_attention_layernorm.weight", vec![hidden]);
        for projection in crate::config::Projection::ALL {
            let (inputs, outputs) = config.features(projection);
            add(
                &format!("{}.weight", projection.path()),
                vec![outputs, inputs],
            );
        }
        if config.qkv_bias {
            add("self_attn.q_proj.bias", vec![config.q_dim()]);
            add("self_attn.k_proj.bias", vec![config.kv_dim()]);
            add("self_attn.v_proj.bias", vec![config.kv_dim()]);
        }
        if config.qk_norm {
            add("self_attn.q_norm.weight", vec![config.head_dim]);
            add("self_attn.k_norm.weight", vec![config.head_dim]);
        }
    }
    all
}

/// `sha256:<hex>` of the files' bytes, end to end.
fn digest(paths: &[PathBuf]) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for path in paths {
        let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
        loop {
            let n = file.read(&mut buffer).map_err(|e| Error::io(path, e))?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
        }
    }
    let hex: String = hasher
        .finalize()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    Ok(format!("sha256:{hex}"))
}
