//! The same adapter with its tensors in another number format.

use super::{PeftFiles, tensors};
use crate::error::{Error, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;

/// A number format of tensors in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorType {
    F32,
    F16,
    Bf16,
}

/// The files with all tensors rounded (to nearest) to `to`; the configuration stays as it is.
///
/// # Errors
/// [`Error::Adapter`] if the file is damaged, or names a tensor of which a number is too large for f16.
pub fn in_type(files: &PeftFiles, to: TensorType) -> Result<PeftFiles> {
    let file = SafeTensors::deserialize(&files.safetensors)
        .map_err(|e| Error::Adapter(format!("{} is damaged: {e}", super::WEIGHTS_FILE)))?;
    let dtype = match to {
        TensorType::F32 => Dtype::F32,
        TensorType::F16 => Dtype::F16,
        TensorType::Bf16 => Dtype::BF16,
    };
    let mut converted = Vec::new();
    for (name, tensor) in file.iter() {
        let values = tensors::floats(name, &tensor)?;
        let bytes: Vec<u8> = match to {
            TensorType::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            TensorType::Bf16 => {
                let words = values.iter().map(|x| half::bf16::from_f32(*x));
                words.flat_map(half::bf16::to_le_bytes).collect()
            }
            TensorType::F16 => {
                let words: Vec<half::f16> =
                    values.iter().map(|x| half::f16::from_f32(*x)).collect();
                if words.iter().any(|w| w.is_infinite()) {
                    return Err(Error::Adapter(format!(
                        "tensor {name} has numbers too large for f16 (65504 at most); take bf16 or f32"
                    )));
                }
                words.into_iter().flat_map(half::f16::to_le_bytes).collect()
            }
        };
        converted.push((name, tensor.shape().to_vec(), bytes));
    }
    let views = converted.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(dtype, shape.clone(), bytes);
        (name, view.expect("as many numbers as before"))
    });
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    Ok(PeftFiles {
        config_json: files.config_json.clone(),
        safetensors: safetensors::serialize(views, Some(metadata))
            .expect("names and shapes always fit a header"),
    })
}
