//! Writing GGUF files: a header of metadata and tensor descriptions, and then the tensors, each at an aligned
//! offset. Source: the GGUF specification, version 3, of the ggml project.

use crate::error::{Error, Result};
use half::f16;
use rayon::prelude::*;

/// A number format of tensors that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufType {
    F32,
    F16,
    /// Blocks of 32 numbers of eight bits with a scale in f16.
    Q8_0,
}

/// Numbers of a block of [`GgufType::Q8_0`].
pub const Q8_BLOCK: usize = 32;

impl GgufType {
    /// The type's number in a file.
    pub fn code(self) -> u32 {
        match self {
            GgufType::F32 => 0,
            GgufType::F16 => 1,
            GgufType::Q8_0 => 8,
        }
    }

    /// Bytes of `n` numbers, whole blocks of them.
    pub fn bytes(self, n: usize) -> usize {
        match self {
            GgufType::F32 => n * 4,
            GgufType::F16 => n * 2,
            GgufType::Q8_0 => n / Q8_BLOCK * (Q8_BLOCK + 2),
        }
    }

    /// The numbers in this format, rounded to nearest.
    ///
    /// # Errors
    /// [`Error::Adapter`] names the tensor if a number is too large for f16.
    pub fn encode(self, name: &str, values: &[f32]) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.bytes(values.len())];
        let fits = match self {
            GgufType::F32 => {
                let words = bytes.par_chunks_exact_mut(4).zip(values);
                words.for_each(|(to, x)| to.copy_from_slice(&x.to_le_bytes()));
                true
            }
            GgufType::F16 => bytes
                .par_chunks_exact_mut(2)
                .zip(values)
                .map(|(to, x)| {
                    let word = f16::from_f32(*x);
                    to.copy_from_slice(&word.to_le_bytes());
                    word.is_finite()
                })
                .reduce(|| true, |a, b| a && b),
            GgufType::Q8_0 => bytes
                .par_chunks_exact_mut(Q8_BLOCK + 2)
                .zip(values.par_chunks_exact(Q8_BLOCK))
                .map(|(to, block)| {
                    let largest = block.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                    let scale = largest / 127.0;
                    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                    to[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
                    for (to, x) in to[2..].iter_mut().zip(block) {
                        *to = (x * inverse).round() as i8 as u8;
                    }
                    f16::from_f32(scale).is_finite()
                })
                .reduce(|| true, |a, b| a && b),
        };
        match fits {
            true => Ok(bytes),
            false => Err(Error::Adapter(format!(
                "tensor {name} has numbers that are too large for {self:?}"
            ))),
        }
    }
}

/// The beginning of a GGUF file.
pub struct Header {
    metadata: Vec<u8>,
    entries: u64,
    tensors: Vec<u8>,
    count: u64,
    /// Bytes of all tensors so far, with their padding.
    data: u64,
    alignment: u64,
}

/// What tensors are aligned to, unless the file says otherwise.
pub const ALIGNMENT: u64 = 32;

/// The numbers of value types in a file.
const UINT32: u32 = 4;
const FLOAT32: u32 = 6;
const STRING: u32 = 8;

impl Header {
    pub fn new(alignment: u64) -> Self {
        Header {
            metadata: Vec::new(),
            entries: 0,
            tensors: Vec::new(),
            count: 0,
            data: 0,
            alignment,
        }
    }

    pub fn text(&mut self, key: &str, value: &str) {
        self.entry(key, STRING, |out| string(out, value));
    }

    pub fn number(&mut self, key: &str, value: u32) {
        self.entry(key, UINT32, |out| out.extend(value.to_le_bytes()));
    }

    pub fn float(&mut self, key: &str, value: f32) {
        self.entry(key, FLOAT32, |out| out.extend(value.to_le_bytes()));
    }

    /// An entry as another file has it: key, type and value.
    pub fn raw(&mut self, entry: &[u8]) {
        self.metadata.extend(entry);
        self.entries += 1;
    }

    /// Announces the next tensor. `dimensions` begins with the fastest one, `bytes` is the length of its data.
    pub fn tensor(&mut self, name: &str, dimensions: &[u64], code: u32, bytes: u64) {
        string(&mut self.tensors, name);
        self.tensors.extend((dimensions.len() as u32).to_le_bytes());
        for d in dimensions {
            self.tensors.extend(d.to_le_bytes());
        }
        self.tensors.extend(code.to_le_bytes());
        self.tensors.extend(self.data.to_le_bytes());
        self.data += bytes + padding(bytes, self.alignment);
        self.count += 1;
    }

    /// The header's bytes, up to the first tensor's.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend(self.count.to_le_bytes());
        out.extend(self.entries.to_le_bytes());
        out.extend(&self.metadata);
        out.extend(&self.tensors);
        let pad = padding(out.len() as u64, self.alignment) as usize;
        out.resize(out.len() + pad, 0);
        out
    }

    /// Bytes of all tensors with their padding.
    pub fn data_len(&self) -> u64 {
        self.data
    }

    fn entry(&mut self, key: &str, kind: u32, value: impl FnOnce(&mut Vec<u8>)) {
        string(&mut self.metadata, key);
        self.metadata.extend(kind.to_le_bytes());
        value(&mut self.metadata);
        self.entries += 1;
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Bytes from `len` to the next aligned offset.
pub fn padding(len: u64, alignment: u64) -> u64 {
    len.next_multiple_of(alignment) - len
}

/// Reorders the rows of each head from (0, 1, 2, …) to (0, d/2, 1, d/2+1, …), the order of q and k in files of the
/// llama architecture.
pub fn interleave(data: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let width = data.len() / rows;
    let (dim, half) = (rows / heads, rows / heads / 2);
    let mut out = vec![0.0; data.len()];
    for (row, source) in data.chunks_exact(width).enumerate() {
        let (head, within) = (row / dim, row % dim);
        let target = head * dim + (within % half) * 2 + within / half;
        out[target * width..][..width].copy_from_slice(source);
    }
    out
}

/// The number of heads whose rows a GGUF file of the model has interleaved, if any.
pub fn interleaved_heads(
    model: &crate::config::ModelConfig,
    projection: crate::config::Projection,
) -> Option<usize> {
    use crate::config::{Family, Projection};
    match (model.family, projection) {
        (Family::Llama, Projection::Q) => Some(model.num_heads),
        (Family::Llama, Projection::K) => Some(model.num_kv_heads),
        _ => None,
    }
}

/// `general.architecture` of a family's files.
pub fn architecture(family: crate::config::Family) -> &'static str {
    use crate::config::Family;
    match family {
        Family::Llama => "llama",
        Family::Qwen2 => "qwen2",
        Family::Qwen3 => "qwen3",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bits_are_within_half_a_step() {
        let values: Vec<f32> = (0..64)
            .map(|i| ((i * 37 % 64) as f32 - 30.0) * 0.01)
            .collect();
        let bytes = GgufType::Q8_0.encode("x", &values).unwrap();
        assert_eq!(bytes.len(), 2 * 34);
        for (block, values) in bytes.chunks_exact(34).zip(values.chunks_exact(32)) {
            let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
            for (q, x) in block[2..].iter().zip(values) {
                assert!(
                    (f32::from(*q as i8) * scale - x).abs() <= scale * 0.51,
                    "{x}"
                );
            }
        }
        assert_eq!(GgufType::Q8_0.encode("x", &[0.0; 32]).unwrap(), [0; 34]);
        let error = GgufType::F16
            .encode("blk.0.x", &[1e6])
            .unwrap_err()
            .to_string();
        assert!(error.contains("blk.0.x"), "{error}");
    }

    #[test]
    fn interleaved_rows_are_neighbours() {
        let rows: Vec<f32> = (0..8).map(|i| i as f32).collect();
        assert_eq!(interleave(&rows, 8, 2), [0., 2., 1., 3., 4., 6., 5., 7.]);
    }
}
