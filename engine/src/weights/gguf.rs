//! GGUF: llama.cpp's single file of metadata and quantised tensors.
//!
//! A tensor is read when it is asked for, and dequantised in chunks by all cores. Hugging Face's tensor names are
//! mapped to the file's own.
//!
//! Converters interleave the rows of each head of q and k in llama-architecture models (row i next to row
//! i + d/2), because llama.cpp rotates neighbouring pairs there. [`Gguf::tensor`] restores the half-split order.

use super::blocks::{Blocks, Matrix};
use super::gguf_tokenizer;
use super::{ModelFiles, Source, Tensor, digest};
use crate::chat::ChatTemplate;
use crate::config::{Family, ModelConfig, RopeScaling};
use crate::error::{Error, Result};
use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use rayon::prelude::*;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Elements dequantised by one task: large enough to amortise it, small enough to stay in cache.
const CHUNK: usize = 1 << 16;

pub(super) struct Gguf {
    path: PathBuf,
    content: Content,
    /// Held only while bytes are copied out, never while they are dequantised.
    file: Mutex<File>,
    /// (heads of q, heads of k) if their rows are interleaved.
    interleaved: Option<(usize, usize)>,
}

pub(super) fn open(path: &Path) -> Result<ModelFiles> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let size = file.metadata().map_err(|e| Error::io(path, e))?.len();
    let mut content = Content::read(&mut BufReader::new(&file))
        .map_err(|e| Error::model(path, format!("not a readable GGUF file: {e}")))?;
    let metadata = Metadata {
        path,
        values: std::mem::take(&mut content.metadata),
    };
    let mut gguf = Gguf {
        path: path.into(),
        content,
        file: Mutex::new(file),
        interleaved: None,
    };
    gguf.check_extent(size)?;
    let config = metadata.config(&gguf)?;
    if config.family == Family::Llama {
        gguf.interleaved = Some((config.num_heads, config.num_kv_heads));
    }
    let paths = [path.to_path_buf()];
    let (digest, vocabulary) = std::thread::scope(|scope| {
        let digest = scope.spawn(|| digest(&paths));
        let vocabulary = gguf_tokenizer::read(&metadata);
        (
            digest.join().expect("hashing a file does not panic"),
            vocabulary,
        )
    });
    let vocabulary = vocabulary?;
    let chat_template = match metadata.text("tokenizer.chat_template") {
        Some(source) => {
            let special = vocabulary.special_tokens(&metadata);
            Some(ChatTemplate::with_special_tokens(source, special)?)
        }
        None => None,
    };
    Ok(ModelFiles {
        path: path.into(),
        config,
        tokenizer: vocabulary.tokenizer,
        chat_template,
        eos: vocabulary.eos,
        bos: vocabulary.bos,
        digest: digest?,
        source: Source::Gguf(gguf),
    })
}

impl Gguf {
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let info = self.content.tensor_infos.get(&gguf_name(name)?)?;
        Some(info.shape.dims().to_vec())
    }

    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let (dtype, bytes) = self.named(name)?;
        let shape = self.shape(name).expect("the tensor was just read");
        let data = self.floats(name, shape[0], dtype, &bytes)?;
        Ok(Tensor { shape, data })
    }

    fn floats(&self, name: &str, rows: usize, dtype: GgmlDType, bytes: &[u8]) -> Result<Vec<f32>> {
        let data = dequantize(dtype, bytes)?;
        Ok(match self.interleaved_heads(name) {
            Some(heads) => deinterleave(&data, rows, heads),
            None => data,
        })
    }

    /// The tensor as the file's codes, if its type has the form of [`Blocks`]; else in f32.
    pub fn matrix(&self, name: &str) -> Result<Matrix> {
        let (dtype, bytes) = self.named(name)?;
        let rows = self.shape(name).expect("the tensor was just read")[0];
        let Some(blocks) = Blocks::read(dtype, &bytes) else {
            return Ok(Matrix::Floats(self.floats(name, rows, dtype, &bytes)?));
        };
        Ok(Matrix::Blocks(match self.interleaved_heads(name) {
            Some(heads) => Blocks {
                codes: deinterleave(&blocks.codes, rows, heads),
                scales: deinterleave(&blocks.scales, rows, heads),
            },
            None => blocks,
        }))
    }

    fn named(&self, name: &str) -> Result<(GgmlDType, Vec<u8>)> {
        gguf_name(name)
            .and_then(|own| self.stored(&own).transpose())
            .unwrap_or_else(|| Err(Error::model(&self.path, format!("has no tensor {name}"))))
    }

    /// The number of heads whose rows must be deinterleaved, if any.
    fn interleaved_heads(&self, name: &str) -> Option<usize> {
        match self.interleaved {
            Some((q, _)) if name.contains(".q_proj.") => Some(q),
            Some((_, k)) if name.contains(".k_proj.") => Some(k),
            _ => None,
        }
    }

    /// The type and bytes of a tensor, by the file's own name and in its own order.
    fn stored(&self, own: &str) -> Result<Option<(GgmlDType, Vec<u8>)>> {
        let Some(info) = self.content.tensor_infos.get(own) else {
            return Ok(None);
        };
        let dtype = info.ggml_dtype;
        let elements = info.shape.elem_count();
        let mut bytes = vec![0; elements / dtype.block_size() * dtype.type_size()];
        let mut file = self.file.lock().expect("no reader panics");
        file.seek(SeekFrom::Start(
            self.content.tensor_data_offset + info.offset,
        ))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|e| Error::io(&self.path, e))?;
        Ok(Some((dtype, bytes)))
    }

    /// Checks that every tensor lies inside the file and consists of whole blocks.
    fn check_extent(&self, size: u64) -> Result<()> {
        for (name, info) in &self.content.tensor_infos {
            let (elements, dtype) = (info.shape.elem_count(), info.ggml_dtype);
            let row = info.shape.dims().last().copied().unwrap_or(1);
            if !row.is_multiple_of(dtype.block_size()) {
                return Err(Error::model(
                    &self.path,
                    format!("tensor {name}: rows of {row} are not whole {dtype:?} blocks"),
                ));
            }
            let bytes = (elements / dtype.block_size() * dtype.type_size()) as u64;
            let end = self
                .content
                .tensor_data_offset
                .saturating_add(info.offset)
                .saturating_add(bytes);
            if end > size {
                return Err(Error::model(
                    &self.path,
                    format!("is cut off: tensor {name} ends at byte {end}, the file has {size}"),
                ));
            }
        }
        Ok(())
    }
}

fn dequantize(dtype: GgmlDType, bytes: &[u8]) -> Result<Vec<f32>> {
    let mut data = vec![0.0; bytes.len() / dtype.type_size() * dtype.block_size()];
    let chunk_bytes = CHUNK / dtype.block_size() * dtype.type_size();
    data.par_chunks_mut(CHUNK)
        .zip(bytes.par_chunks(chunk_bytes))
        .try_for_each(|(out, bytes)| -> candle_core::Result<()> {
            let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, dtype)?;
            let values = QTensor::new(storage, out.len())?.dequantize(&Device::Cpu)?;
            out.copy_from_slice(&values.to_vec1::<f32>()?);
            Ok(())
        })?;
    Ok(data)
}

/// `model.layers.3.self_attn.q_proj.weight` → `blk.3.attn_q.weight`.
pub(crate) fn gguf_name(name: &str) -> Option<String> {
    match name {
        "model.embed_tokens.weight" => return Some("token_embd.weight".into()),
        "model.norm.weight" => return Some("output_norm.weight".into()),
        "lm_head.weight" => return Some("output.weight".into()),
        _ => {}
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (module, kind) = rest.rsplit_once('.')?;
    let own = match module {
        "input_layernorm" => "attn_norm",
        "post_attention_layernorm" => "ffn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    };
    Some(format!("blk.{layer}.{own}.{kind}"))
}

/// Reorders the rows of each head from (0, d/2, 1, d/2+1, …) to (0, 1, 2, …).
fn deinterleave<T: Copy>(data: &[T], rows: usize, heads: usize) -> Vec<T> {
    let width = data.len() / rows;
    let (dim, half) = (rows / heads, rows / heads / 2);
    let mut out = data.to_vec();
    for (row, target) in out.chunks_exact_mut(width).enumerate() {
        let (head, within) = (row / dim, row % dim);
        let source = head * dim + (within % half) * 2 + within / half;
        target.copy_from_slice(&data[source * width..][..width]);
    }
    out
}

/// The file's key-value pairs.
pub(super) struct Metadata<'a> {
    pub path: &'a Path,
    pub values: HashMap<String, Value>,
}

impl Metadata<'_> {
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key)?.to_string().ok().map(String::as_str)
    }

    pub fn number(&self, key: &str) -> Option<u64> {
        match self.values.get(key)? {
            Value::U8(v) => Some((*v).into()),
            Value::U16(v) => Some((*v).into()),
            Value::U32(v) => Some((*v).into()),
            Value::U64(v) => Some(*v),
            Value::I8(v) => u64::try_from(*v).ok(),
            Value::I16(v) => u64::try_from(*v).ok(),
            Value::I32(v) => u64::try_from(*v).ok(),
            Value::I64(v) => u64::try_from(*v).ok(),
            _ => None,
        }
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        self.values.get(key)?.to_bool().ok()
    }

    pub fn list(&self, key: &str) -> Result<&[Value]> {
        let list = self.values.get(key).and_then(|v| v.to_vec().ok());
        list.map(Vec::as_slice)
            .ok_or_else(|| self.wrong(format!("has no list {key} in its metadata")))
    }

    pub fn wrong(&self, reason: impl Into<String>) -> Error {
        Error::model(self.path, reason)
    }

    fn need(&self, key: &str) -> Result<usize> {
        let value = self.number(key).filter(|v| *v > 0);
        value
            .map(|v| v as usize)
            .ok_or_else(|| self.wrong(format!("has no positive number {key} in its metadata")))
    }

    fn float(&self, key: &str) -> Option<f32> {
        match self.values.get(key)? {
            Value::F32(v) => Some(*v),
            Value::F64(v) => Some(*v as f32),
            _ => None,
        }
    }

    fn config(&self, gguf: &Gguf) -> Result<ModelConfig> {
        let arch = self.text("general.architecture").unwrap_or("");
        let family = match arch {
            "llama" => Family::Llama,
            "qwen2" => Family::Qwen2,
            "qwen3" => Family::Qwen3,
            other => {
                return Err(self.wrong(format!(
                    "architecture {other:?} is not supported; llama, qwen2 and qwen3 are"
                )));
            }
        };
        let key = |name: &str| format!("{arch}.{name}");
        if self.number(&key("expert_count")).unwrap_or(0) > 0 {
            return Err(self.wrong("mixture-of-experts models are not supported"));
        }
        if let Some(kind) = self
            .text(&key("rope.scaling.type"))
            .filter(|k| *k != "none")
        {
            return Err(self.wrong(format!("rotary scaling {kind:?} is not supported")));
        }
        let hidden_size = self.need(&key("embedding_length"))?;
        let num_heads = self.need(&key("attention.head_count"))?;
        let num_kv_heads = match self.number(&key("attention.head_count_kv")) {
            Some(n) => n as usize,
            None => num_heads,
        };
        let head_dim = match self.number(&key("attention.key_length")) {
            Some(n) => n as usize,
            None => hidden_size / num_heads,
        };
        if num_kv_heads == 0 || head_dim == 0 || head_dim % 2 == 1 || num_heads % num_kv_heads != 0
        {
            return Err(self.wrong(format!(
                "{num_heads} heads over {num_kv_heads} key-value heads of {head_dim} make no attention"
            )));
        }
        let rope_theta = self.float(&key("rope.freq_base")).unwrap_or(10_000.0);
        let rows = |name: &str| gguf.shape(name).and_then(|s| s.first().copied());
        let config = ModelConfig {
            family,
            vocab_size: rows("model.embed_tokens.weight")
                .ok_or_else(|| self.wrong("has no tensor token_embd.weight"))?,
            hidden_size,
            intermediate_size: self.need(&key("feed_forward_length"))?,
            num_layers: self.need(&key("block_count"))?,
            num_heads,
            num_kv_heads,
            head_dim,
            rope_theta,
            rope_scaling: None,
            rms_norm_eps: self
                .float(&key("attention.layer_norm_rms_epsilon"))
                .ok_or_else(|| {
                    self.wrong("has no attention.layer_norm_rms_epsilon in its metadata")
                })?,
            tie_word_embeddings: rows("lm_head.weight").is_none(),
            qkv_bias: family == Family::Qwen2,
            qk_norm: family == Family::Qwen3,
            max_position: self.need(&key("context_length"))?,
        };
        match gguf.stored("rope_freqs.weight")? {
            Some((dtype, bytes)) => llama3_scaled(&dequantize(dtype, &bytes)?, config).ok_or_else(|| {
                self.wrong("its rotary factors (rope_freqs.weight) are not Llama 3's, which are all this engine scales by")
            }),
            None => Ok(config),
        }
    }
}

/// Converters store Llama 3's scaling as the divisor of each frequency alone. All released models share three of
/// the scaling's four constants, so the fourth is the largest divisor. Divisors that do not fit are refused.
fn llama3_scaled(factors: &[f32], mut config: ModelConfig) -> Option<ModelConfig> {
    let plain = config.inverse_frequencies();
    config.rope_scaling = Some(RopeScaling {
        factor: factors.iter().copied().fold(1.0, f32::max),
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position: 8192,
    });
    let fits = factors.len() == plain.len()
        && (plain.iter().zip(factors).zip(config.inverse_frequencies()))
            .all(|((plain, factor), scaled)| (plain / factor / scaled - 1.0).abs() < 1e-3);
    fits.then_some(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As converters permute: reshape(heads, 2, d/2), swap the last two, flatten.
    fn interleave(rows: &[[f32; 2]], heads: usize) -> Vec<f32> {
        let half = rows.len() / heads / 2;
        let mut out = Vec::new();
        for head in 0..heads {
            for i in 0..half {
                for part in 0..2 {
                    out.extend(rows[(head * 2 + part) * half + i]);
                }
            }
        }
        out
    }

    #[test]
    fn deinterleaving_undoes_the_converters_permutation() {
        let rows: Vec<[f32; 2]> = (0..24).map(|i| [i as f32, -(i as f32)]).collect();
        for heads in [1, 2, 3] {
            let stored = interleave(&rows, heads);
            assert_ne!(stored, rows.concat());
            assert_eq!(deinterleave(&stored, 24, heads), rows.concat());
        }
        // Two heads of four: the stored order of a head is 0 2 1 3.
        assert_eq!(
            deinterleave(&[0., 2., 1., 3., 4., 6., 5., 7.], 8, 2),
            [0., 1., 2., 3., 4., 5., 6., 7.]
        );
    }

    #[test]
    fn every_tensor_of_every_family_has_a_gguf_name() {
        for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
            for (name, _) in super::super::tensors_of(&crate::tiny::tiny_config(family)) {
                assert!(gguf_name(&name).is_some(), "{name}");
            }
        }
        assert_eq!(
            gguf_name("model.layers.12.mlp.up_proj.weight").as_deref(),
            Some("blk.12.ffn_up.weight")
        );
        assert_eq!(gguf_name("rope_freqs.weight"), None);
    }

    #[test]
    fn llama3_factors_are_recognised_and_others_refused() {
        let mut config = crate::tiny::tiny_config(Family::Llama);
        (config.head_dim, config.rope_theta) = (64, 500_000.0);
        let plain = config.inverse_frequencies();
        config.rope_scaling = Some(RopeScaling {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position: 8192,
        });
        let scaled = config.inverse_frequencies();
        let mut factors: Vec<f32> = plain.iter().zip(&scaled).map(|(p, s)| p / s).collect();
        let unscaled = ModelConfig {
            rope_scaling: None,
            ..config.clone()
        };
        let found = llama3_scaled(&factors, unscaled.clone()).expect("Llama 3's own factors");
        assert!((found.rope_scaling.unwrap().factor - 32.0).abs() < 1e-3);
        factors[3] = 2.0;
        assert_eq!(llama3_scaled(&factors, unscaled), None);
    }
}
