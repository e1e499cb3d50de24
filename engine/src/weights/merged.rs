//! A GGUF file with an adapter merged into its weights. The metadata (tokenizer, chat template) stays as it is.
//!
//! Matrices are written as F16 or Q8_0; vectors, and tensors that the engine does not know, as the file has them.
//! Tensors are computed and written one after another, so the memory needed is that of the largest tensor in f32.

use super::gguf_file::GgufFile;
use super::gguf_write::{GgufType, Header, Q8_BLOCK, interleave, interleaved_heads, padding};
use super::{ModelFiles, Source, gguf_name, tensors_of};
use crate::config::Projection;
use crate::error::{Error, Result};
use crate::lora::{Lora, LoraPair, dora_gain};
use rayon::prelude::*;
use std::collections::HashMap;
use std::io::{self, Write};

/// A merge that is ready to be written.
pub struct Merged<'a> {
    files: &'a ModelFiles,
    lora: &'a Lora,
    base: GgufFile,
    tensors: Vec<Planned>,
    header: Header,
    alignment: u64,
}

/// One tensor of the merged file.
struct Planned {
    own: String,
    bytes: u64,
    content: Content,
}

enum Content {
    /// The base file's bytes.
    Base(usize),
    /// Computed: the tensor's Hugging Face name, and the type that it is written in.
    Computed(String, GgufType),
}

impl<'a> Merged<'a> {
    /// Plans the merge.
    ///
    /// # Errors
    /// [`Error::Adapter`] if the base is no GGUF file (the metadata of one cannot be made of a Hugging Face
    /// directory), or if the adapter has a bias for a layer that has none; [`Error::Model`] if the file cannot be
    /// read.
    pub fn new(files: &'a ModelFiles, lora: &'a Lora, to: GgufType) -> Result<Self> {
        let model = &files.config;
        lora.validate(model)?;
        if !matches!(files.source, Source::Gguf(_)) {
            return Err(Error::Adapter(
                "a merged GGUF file keeps the metadata of the base's GGUF file, and the base here is a Hugging Face \
                 directory; serve the model's GGUF file, or merge with PEFT's merge_and_unload"
                    .into(),
            ));
        }
        check_biases(files, lora)?;
        let base = GgufFile::read(&files.path)?;
        let mut known: HashMap<String, (String, Vec<usize>)> = tensors_of(model)
            .into_iter()
            .filter_map(|(name, shape)| Some((gguf_name(&name)?, (name, shape))))
            .collect();
        let extras = lora.extras.as_ref();
        let tables = extras.is_some_and(|e| e.embedding.is_some() || e.head.is_some());
        let mut planned = Vec::new();
        for (index, tensor) in base.tensors.iter().enumerate() {
            let changed = |name: &str| name.ends_with(".bias") && adds_bias(lora, name);
            let known = known.remove(&tensor.name);
            let computed = known.filter(|(name, shape)| shape.len() == 2 || changed(name));
            let (code, bytes, content) = match computed {
                Some((name, shape)) => {
                    let kind = type_of(&shape, to);
                    let bytes = kind.bytes(shape.iter().product()) as u64;
                    (kind.code(), bytes, Content::Computed(name, kind))
                }
                None => (tensor.code, tensor.bytes, Content::Base(index)),
            };
            let own = tensor.name.clone();
            let dimensions = tensor.dimensions.clone();
            planned.push((
                Planned {
                    own,
                    bytes,
                    content,
                },
                dimensions,
                code,
            ));
        }
        // Where the base has one table for both ends, a change of either makes two of them.
        if model.tie_word_embeddings && tables {
            let own = gguf_name(HEAD).expect("the head has a name");
            let shape = [model.vocab_size, model.hidden_size];
            let kind = type_of(&shape, to);
            let bytes = kind.bytes(shape.iter().product()) as u64;
            let content = Content::Computed(HEAD.to_string(), kind);
            let dimensions = vec![model.hidden_size as u64, model.vocab_size as u64];
            planned.push((
                Planned {
                    own,
                    bytes,
                    content,
                },
                dimensions,
                kind.code(),
            ));
        }
        let mut header = Header::new(base.alignment);
        for (key, entry) in &base.metadata {
            if key != FILE_TYPE && !key.starts_with("split.") {
                header.raw(entry);
            }
        }
        header.number(FILE_TYPE, if to == GgufType::Q8_0 { 7 } else { 1 });
        for (tensor, dimensions, code) in &planned {
            header.tensor(&tensor.own, dimensions, *code, tensor.bytes);
        }
        Ok(Merged {
            files,
            lora,
            alignment: base.alignment,
            base,
            tensors: planned.into_iter().map(|(tensor, ..)| tensor).collect(),
            header,
        })
    }

    /// Bytes of the whole file.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.header.encode().len() as u64 + self.header.data_len()
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Those of `out`, of reading the base, and of a number that the type cannot hold.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.header.encode())?;
        for tensor in &self.tensors {
            match &tensor.content {
                Content::Base(index) => self.base.copy(*index, out)?,
                Content::Computed(name, kind) => {
                    let bytes = self.computed(name, *kind).map_err(io::Error::other)?;
                    out.write_all(&bytes)?;
                }
            }
            let pad = padding(tensor.bytes, self.alignment) as usize;
            out.write_all(&vec![0; pad])?;
        }
        Ok(())
    }

    fn computed(&self, name: &str, kind: GgufType) -> Result<Vec<u8>> {
        let values = self.merged(name)?;
        kind.encode(name, &values)
    }

    /// A tensor with the adapter in it, in the order of the file.
    fn merged(&self, name: &str) -> Result<Vec<f32>> {
        let (model, extras) = (&self.files.config, self.lora.extras.as_ref());
        let table = match name {
            EMBEDDING => Some(extras.and_then(|e| e.embedding.as_ref())),
            HEAD => Some(extras.and_then(|e| e.head.as_ref())),
            _ => None,
        };
        if let Some(change) = table {
            let source = if model.tie_word_embeddings {
                EMBEDDING
            } else {
                name
            };
            let mut values = self.files.tensor(source)?.data;
            if let Some(change) = change {
                let rows = values.par_chunks_exact_mut(model.hidden_size).enumerate();
                rows.for_each(|(token, row)| change.embed(token, row));
            }
            return Ok(values);
        }
        let mut values = self.files.tensor(name)?.data;
        let (layer, projection) = linear(name).expect("only linear layers are left");
        let extras = extras.map(|e| &e.layers[layer][projection.index()]);
        if name.ends_with(".bias") {
            if let Some(bias) = extras.and_then(|e| e.bias.as_ref()) {
                values.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
            }
            return Ok(values);
        }
        let (inputs, outputs) = model.features(projection);
        if let Some(pair) = &self.lora.layers[layer][projection.index()] {
            let scale = self.lora.config.scale();
            let magnitude = extras.and_then(|e| e.magnitude.as_ref());
            merge(&mut values, pair, scale, magnitude, inputs);
        }
        Ok(match interleaved_heads(model, projection) {
            Some(heads) => interleave(&values, outputs, heads),
            None => values,
        })
    }
}

/// The type that a tensor is written in: vectors stay f32, and rows that are not whole blocks have no Q8_0.
fn type_of(shape: &[usize], to: GgufType) -> GgufType {
    match shape {
        [_] => GgufType::F32,
        [.., row] if row.is_multiple_of(Q8_BLOCK) => to,
        _ => GgufType::F16,
    }
}

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";
const FILE_TYPE: &str = "general.file_type";

/// `W ← g ⊙ (W + scale · B · A)`, g of DoRA's magnitudes.
fn merge(w: &mut [f32], pair: &LoraPair, scale: f32, magnitude: Option<&Vec<f32>>, inputs: usize) {
    let rank = pair.a.len() / inputs;
    w.par_chunks_exact_mut(inputs)
        .enumerate()
        .for_each(|(j, row)| {
            for (b, a) in pair.b[j * rank..][..rank]
                .iter()
                .zip(pair.a.chunks_exact(inputs))
            {
                row.iter_mut().zip(a).for_each(|(x, a)| *x += scale * b * a);
            }
            if let Some(magnitude) = magnitude {
                let own = |_, out: &mut [f32]| out.copy_from_slice(row);
                let gain = dora_gain(&magnitude[j..=j], None, own, inputs)[0];
                row.iter_mut().for_each(|x| *x *= gain);
            }
        });
}

/// The layer and projection of `model.layers.3.self_attn.q_proj.weight` (or `.bias`).
fn linear(name: &str) -> Option<(usize, Projection)> {
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (path, _) = rest.rsplit_once('.')?;
    let projection = Projection::ALL.into_iter().find(|p| p.path() == path)?;
    Some((layer.parse().ok()?, projection))
}

fn adds_bias(lora: &Lora, name: &str) -> bool {
    let (Some(extras), Some((layer, p))) = (&lora.extras, linear(name)) else {
        return false;
    };
    extras.layers[layer][p.index()].bias.is_some()
}

/// Checks that the file has a bias wherever the adapter adds to one.
fn check_biases(files: &ModelFiles, lora: &Lora) -> Result<()> {
    let layers = lora.extras.iter().flat_map(|e| e.layers.iter().enumerate());
    for (l, layer) in layers {
        for (p, extras) in Projection::ALL.into_iter().zip(layer) {
            let name = format!("model.layers.{l}.{}.bias", p.path());
            if extras.bias.is_some() && !files.has(&name) {
                return Err(Error::Adapter(format!(
                    "a merged file has no place for the adapter's lora_bias: the base has no {name}"
                )));
            }
        }
    }
    Ok(())
}
