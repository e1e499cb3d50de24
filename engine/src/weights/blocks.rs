//! Matrices as quantised files hold them: blocks of 32 weights, each weight `code · scale + zero`.
//!
//! Codes and scales are taken from the file as they are: nothing is lost, and nothing has to be recovered from
//! dequantised numbers.

use candle_core::quantized::GgmlDType;
use half::f16;
use rayon::prelude::*;

/// Weights of a block.
pub const BLOCK: usize = 32;

/// A matrix `[rows, 32 · n]`, its blocks row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocks {
    /// Of each block.
    pub codes: Vec<[u8; BLOCK]>,
    /// (scale, zero) of each block.
    pub scales: Vec<[f32; 2]>,
}

/// A matrix of the base model, row by row.
#[derive(Debug, Clone, PartialEq)]
pub enum Matrix {
    Floats(Vec<f32>),
    Blocks(Blocks),
}

impl Matrix {
    pub fn into_floats(self) -> Vec<f32> {
        match self {
            Matrix::Floats(floats) => floats,
            Matrix::Blocks(blocks) => blocks.floats(),
        }
    }

    /// The number of weights.
    pub fn count(&self) -> usize {
        match self {
            Matrix::Floats(floats) => floats.len(),
            Matrix::Blocks(blocks) => blocks.codes.len() * BLOCK,
        }
    }
}

/// The codes of a row's blocks, and their scales.
pub type BlockRow<'a> = (&'a [[u8; BLOCK]], &'a [[f32; 2]]);

/// Reads one block of a file.
type Read = fn(&[u8], &mut [[u8; BLOCK]], &mut [[f32; 2]]);

impl Blocks {
    /// The rows of all matrices, one matrix after another; each has `inputs` columns.
    pub fn rows(parts: &[Blocks], inputs: usize) -> Vec<BlockRow<'_>> {
        let codes = parts
            .iter()
            .flat_map(|p| p.codes.chunks_exact(inputs / BLOCK));
        let scales = parts
            .iter()
            .flat_map(|p| p.scales.chunks_exact(inputs / BLOCK));
        codes.zip(scales).collect()
    }

    /// The matrix in f32, row-major.
    pub fn floats(&self) -> Vec<f32> {
        let mut floats = vec![0.0; self.codes.len() * BLOCK];
        let out = floats.par_chunks_exact_mut(BLOCK).with_min_len(1 << 10);
        out.zip(&self.codes)
            .zip(&self.scales)
            .for_each(|((out, codes), [scale, zero])| {
                for (out, code) in out.iter_mut().zip(codes) {
                    *out = f32::from(*code).mul_add(*scale, *zero);
                }
            });
        floats
    }

    /// Reads whole blocks of GGML's types of this form (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K); `None` for every
    /// other type.
    pub fn read(dtype: GgmlDType, bytes: &[u8]) -> Option<Self> {
        let one: Read = match dtype {
            GgmlDType::Q4_0 => |b, codes, scales| {
                codes[0] = nibbles(&b[2..]);
                scales[0] = around(half(b), 8.0);
            },
            GgmlDType::Q4_1 => |b, codes, scales| {
                codes[0] = nibbles(&b[4..]);
                scales[0] = [half(b), half(&b[2..])];
            },
            GgmlDType::Q5_0 => |b, codes, scales| {
                codes[0] = with_top_bits(nibbles(&b[6..]), &b[2..]);
                scales[0] = around(half(b), 16.0);
            },
            GgmlDType::Q5_1 => |b, codes, scales| {
                codes[0] = with_top_bits(nibbles(&b[8..]), &b[4..]);
                scales[0] = [half(b), half(&b[2..])];
            },
            GgmlDType::Q8_0 => |b, codes, scales| {
                codes[0] = std::array::from_fn(|i| b[2 + i] ^ 0x80);
                scales[0] = around(half(b), 128.0);
            },
            GgmlDType::Q4K => |b, codes, scales| {
                for (i, codes) in codes.iter_mut().enumerate() {
                    *codes = k_nibbles(&b[16..], i);
                    scales[i] = k_scale(b, i);
                }
            },
            GgmlDType::Q5K => |b, codes, scales| {
                for (i, codes) in codes.iter_mut().enumerate() {
                    *codes = k_nibbles(&b[48..], i);
                    for (code, tops) in codes.iter_mut().zip(&b[16..48]) {
                        *code |= (tops >> i & 1) << 4;
                    }
                    scales[i] = k_scale(b, i);
                }
            },
            _ => return None,
        };
        let (each, size) = (dtype.block_size() / BLOCK, dtype.type_size());
        let blocks = bytes.len() / size * each;
        let mut codes = vec![[0; BLOCK]; blocks];
        let mut scales = vec![[0.0; 2]; blocks];
        let places = codes
            .par_chunks_exact_mut(each)
            .zip(scales.par_chunks_exact_mut(each));
        places
            .zip(bytes.par_chunks_exact(size))
            .with_min_len(1 << 10)
            .for_each(|((codes, scales), bytes)| one(bytes, codes, scales));
        Some(Blocks { codes, scales })
    }
}

fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// Scale and zero of codes that count from `zero` scales below 0.
fn around(scale: f32, zero: f32) -> [f32; 2] {
    [scale, -zero * scale]
}

/// The lower halves of 16 bytes, then the upper ones.
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|i| bytes[i % 16] >> (i / 16 * 4) & 15)
}

fn with_top_bits(mut codes: [u8; BLOCK], bits: &[u8]) -> [u8; BLOCK] {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= (bits[i / 8] >> (i % 8) & 1) << 4;
    }
    codes
}

/// Codes of the i-th of a super-block's eight blocks: two blocks share 32 bytes.
fn k_nibbles(bytes: &[u8], i: usize) -> [u8; BLOCK] {
    let bytes = &bytes[i / 2 * BLOCK..][..BLOCK];
    std::array::from_fn(|l| bytes[l] >> (i % 2 * 4) & 15)
}

/// Scale and zero of the i-th block: six bits each, times the super-block's own two scales.
fn k_scale(bytes: &[u8], i: usize) -> [f32; 2] {
    let six = &bytes[4..16];
    let (scale, least) = match i {
        0..4 => (six[i] & 63, six[i + 4] & 63),
        _ => (
            six[i + 4] & 15 | six[i - 4] >> 6 << 4,
            six[i + 4] >> 4 | six[i] >> 6 << 4,
        ),
    };
    [
        half(bytes) * f32::from(scale),
        -half(&bytes[2..]) * f32::from(least),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use candle_core::quantized::{QStorage, QTensor};
    use std::borrow::Cow;

    #[test]
    fn blocks_say_what_candle_dequantises() {
        let halves = |dtype| {
            if matches!(dtype, GgmlDType::Q4_0 | GgmlDType::Q5_0 | GgmlDType::Q8_0) {
                1
            } else {
                2
            }
        };
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 24) as u8
        };
        use GgmlDType::*;
        for dtype in [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4K, Q5K] {
            let size = dtype.type_size();
            let mut bytes: Vec<u8> = (0..37 * size).map(|_| random()).collect();
            for block in bytes.chunks_exact_mut(size) {
                for scale in block.chunks_exact_mut(2).take(halves(dtype)) {
                    // Of either sign, and not too large.
                    scale[1] = scale[1] & 0x80 | 0x20 | scale[1] & 7;
                }
            }
            let read = Blocks::read(dtype, &bytes).expect("a type of codes");
            let n = 37 * dtype.block_size();
            let storage = QStorage::from_data(Cow::Borrowed(&bytes), &Device::Cpu, dtype).unwrap();
            let want = QTensor::new(storage, n)
                .unwrap()
                .dequantize(&Device::Cpu)
                .unwrap();
            let want: Vec<f32> = want.to_vec1().unwrap();
            let got = read.floats();
            assert_eq!(got.len(), n);
            for (got, want) in got.iter().zip(&want) {
                // Theirs rounds the product before the sum.
                assert!(
                    (got - want).abs() <= 2e-6 * want.abs().max(0.1),
                    "{dtype:?}: {got} for {want}"
                );
            }
        }
        assert_eq!(Blocks::read(Q6K, &[]), None);
    }
}
