//! The names and values of the tensors in `adapter_model.safetensors`.
//!
//! ```text
//! [base_model.model.]model.layers.0.self_attn.q_proj.lora_A[.default].weight        [rank, in]
//!                                                   .lora_B[.default].weight        [out, rank]
//!                                                   .lora_B[.default].bias          [out]
//!                                                   .lora_magnitude_vector[.default][.weight]   [out]
//! [base_model.model.]model.embed_tokens.lora_embedding_A[.default]                  [rank, vocab]
//!                                      .lora_embedding_B[.default]                  [hidden, rank]
//! [base_model.model.]lm_head[.base_layer | .modules_to_save.default].weight         [vocab, hidden]
//! ```
//!
//! `default` is the adapter's name in PEFT; files that PEFT saves leave it out.

use super::patterns::Module;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;

/// What a tensor is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    A,
    B,
    Bias,
    Magnitude,
    EmbeddingA,
    EmbeddingB,
    /// The module's whole weight.
    Whole,
    /// The base's own weight of a module that carries a pair.
    Base,
}

/// One tensor of the file.
pub struct Part32 {
    /// Its name in the file.
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// The tensors of an adapter.
pub type Parts = BTreeMap<(Module, Part), Part32>;

/// Reads all tensors of the file.
///
/// # Errors
/// [`Error::Adapter`] names a tensor that is of no kind above, of another layer, of a type that is not supported,
/// or not finite.
pub fn read(bytes: &[u8], model: &ModelConfig) -> Result<Parts> {
    super::sniff::check(bytes)?;
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| Error::Adapter(format!("{} is damaged: {error}", super::WEIGHTS_FILE)))?;
    // Sorted, so that the same damaged file always gets the same complaint.
    let mut tensors: Vec<_> = file.iter().collect();
    tensors.sort_unstable_by_key(|(name, _)| *name);
    let (mut parts, mut adapter) = (Parts::new(), None);
    for (name, tensor) in tensors {
        let (module, part, of) = parse(name).ok_or_else(|| unknown(name))?;
        if let Some(of) = of {
            let first = *adapter.get_or_insert(of);
            if first != of {
                return Err(Error::Adapter(format!(
                    "tensor {name} is of adapter {of:?}, others are of {first:?}; send one adapter"
                )));
            }
        }
        if let Module::Linear(layer, _) = module
            && layer >= model.num_layers
        {
            return Err(Error::Adapter(format!(
                "tensor {name} belongs to layer {layer}, the model has {} layers",
                model.num_layers
            )));
        }
        let values = Part32 {
            name: name.to_string(),
            shape: tensor.shape().to_vec(),
            data: floats(name, &tensor)?,
        };
        if let Some(other) = parts.insert((module, part), values) {
            return Err(Error::Adapter(format!(
                "tensors {} and {name} are the same part of the adapter; send one",
                other.name
            )));
        }
    }
    Ok(parts)
}

fn unknown(name: &str) -> Error {
    Error::Adapter(format!(
        "tensor {name} is not a LoRA matrix of a decoder's linear layer (such as {PREFIX}model.layers.0.\
         self_attn.q_proj.lora_A.weight), nor a part of embed_tokens or lm_head"
    ))
}

const PREFIX: &str = "base_model.model.";

/// The module and part that a name names, and the adapter's name if it is written.
fn parse(name: &str) -> Option<(Module, Part, Option<&str>)> {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let found = |module: &str, part, adapter| Some((Module::from_name(module)?, part, adapter));
    for (marker, ending, part) in [
        (".lora_A", ".weight", Part::A),
        (".lora_B", ".weight", Part::B),
        (".lora_B", ".bias", Part::Bias),
        (".lora_magnitude_vector", ".weight", Part::Magnitude),
        (".lora_magnitude_vector", "", Part::Magnitude),
        (".lora_embedding_A", "", Part::EmbeddingA),
        (".lora_embedding_B", "", Part::EmbeddingB),
        (".modules_to_save", ".weight", Part::Whole),
        (".base_layer", ".weight", Part::Base),
    ] {
        let Some((module, rest)) = name.rsplit_once(marker) else {
            continue;
        };
        let Some(adapter) = rest.strip_suffix(ending) else {
            continue;
        };
        let module_kind = Module::from_name(module)?;
        // Whole weights are read of the token tables alone, and their LoRA has its own names.
        let fits = match (part, module_kind) {
            (Part::Whole | Part::Base, Module::Linear(..)) => false,
            (Part::EmbeddingA | Part::EmbeddingB, kind) => kind == Module::Embedding,
            (_, kind) => {
                kind != Module::Embedding || !matches!(part, Part::A | Part::B | Part::Bias)
            }
        };
        let adapter = match adapter.strip_prefix('.') {
            None if adapter.is_empty() => None,
            Some(one) if !one.is_empty() && !one.contains('.') => Some(one),
            _ => return None,
        };
        return if fits {
            found(module, part, adapter)
        } else {
            None
        };
    }
    let module = name.strip_suffix(".weight")?;
    let kind = Module::from_name(module)?;
    (!matches!(kind, Module::Linear(..))).then_some((kind, Part::Whole, None))
}

/// The tensor's values in f32.
pub fn floats(name: &str, tensor: &TensorView) -> Result<Vec<f32>> {
    let data = tensor.data();
    let halves = || data.as_chunks::<2>().0.iter();
    let values: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => {
            let words = data.as_chunks::<4>().0.iter();
            words.map(|b| f32::from_le_bytes(*b)).collect()
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Projection;

    #[test]
    fn names_with_and_without_prefix_and_adapter() {
        let q = Module::Linear(0, Projection::Q);
        for (name, want) in [
            (
                "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                Some((q, Part::A, None)),
            ),
            (
                "model.layers.0.self_attn.q_proj.lora_B.default.weight",
                Some((q, Part::B, Some("default"))),
            ),
            (
                "model.layers.0.self_attn.q_proj.lora_B.bias",
                Some((q, Part::Bias, None)),
            ),
            (
                "model.layers.0.self_attn.q_proj.lora_magnitude_vector",
                Some((q, Part::Magnitude, None)),
            ),
            (
                "model.layers.0.self_attn.q_proj.lora_magnitude_vector.weight",
                Some((q, Part::Magnitude, None)),
            ),
            (
                "model.layers.0.self_attn.q_proj.lora_magnitude_vector.x.weight",
                Some((q, Part::Magnitude, Some("x"))),
            ),
            (
                "model.embed_tokens.lora_embedding_A.default",
                Some((Module::Embedding, Part::EmbeddingA, Some("default"))),
            ),
            (
                "base_model.model.lm_head.weight",
                Some((Module::Head, Part::Whole, None)),
            ),
            (
                "lm_head.base_layer.weight",
                Some((Module::Head, Part::Base, None)),
            ),
            (
                "lm_head.modules_to_save.default.weight",
                Some((Module::Head, Part::Whole, Some("default"))),
            ),
            ("model.layers.0.self_attn.q_proj.weight", None),
            ("model.layers.0.self_attn.q_proj.base_layer.weight", None),
            ("model.embed_tokens.lora_A.weight", None),
            ("lm_head.lora_embedding_A", None),
            ("model.layers.0.self_attn.q_proj.lora_A.a.b.weight", None),
            ("model.layers.0.self_attn.q_proj.lora_diag", None),
            ("model.norm.weight", None),
        ] {
            assert_eq!(parse(name), want, "{name}");
        }
    }
}
