//! A frozen linear layer: forward, and the gradient of its input. The gradient of its weight is never computed.

use super::kernels::Init;
use super::kernels::bf16::lora_epilogue::LoraEpilogue;
use super::kernels::bf16::{self, PackedRows};
use super::kernels::gemm::{Mat, MatMut, matmul, small_batch};
use super::kernels::int8;
use crate::weights::{Blocks, Matrix};
use rayon::prelude::*;
use std::sync::OnceLock;

/// Up to this many rows the f32 product reads the weights once, a dot product at a time, instead of packing them.
const SMALL_BATCH_ROWS: usize = 4;

/// A frozen linear layer, or several stacked ones that share their input.
pub struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    bias: Option<Vec<f32>>,
    weight: Weight,
}

enum Weight {
    /// `[outputs, inputs]`
    F32(Vec<f32>),
    Bf16(bf16::Weights),
    Int8 {
        forward: int8::Panels,
        /// The transposed weight, made for the first gradient: serving alone never makes it.
        backward: OnceLock<int8::Panels>,
    },
}

/// The number format of a layer's weights, and of the activations multiplied with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    F32,
    /// Weights and activations in bf16.
    Bf16,
    /// Weights of at most eight bits, activations in f32.
    Int8,
}

/// How a product is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// The output becomes the bias plus the product.
    Overwrite,
    /// The product is added to the output (the residual stream), without the bias.
    Accumulate,
}

impl Linear {
    /// Stacks matrices `[n_i, inputs]` on top of each other and packs them in `format`.
    pub fn new(parts: Vec<Matrix>, inputs: usize, bias: Option<Vec<f32>>, format: Format) -> Self {
        let outputs = parts.iter().map(|p| p.count() / inputs).sum();
        let weight = match (format, Parts::new(parts)) {
            (Format::F32, parts) => Weight::F32(parts.into_floats().concat()),
            (Format::Bf16, parts) => Weight::Bf16(match &parts {
                Parts::Blocks(parts) => bf16::Weights::quantised(parts, inputs),
                Parts::Floats(parts) => bf16::Weights::pack(parts, inputs),
            }),
            (Format::Int8, parts) => Weight::Int8 {
                forward: match &parts {
                    Parts::Blocks(parts) => int8::Panels::from_blocks(parts, inputs),
                    Parts::Floats(parts) => int8::Panels::pack(parts, inputs),
                },
                backward: OnceLock::new(),
            },
        };
        Linear {
            inputs,
            outputs,
            bias,
            weight,
        }
    }

    pub fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// `y[T, outputs] = x[T, inputs] · Wᵀ + bias`; with [`Write::Accumulate`] there is no bias.
    pub fn forward(&self, x: &[f32], y: &mut [f32], write: Write, packed: &mut PackedRows) {
        let rows = x.len() / self.inputs;
        let init = self.init(write);
        match &self.weight {
            Weight::Bf16(w) => {
                packed.pack(x, self.inputs);
                bf16::multiply(packed, w.as_stored(), y, init);
            }
            Weight::Int8 { forward, .. } => int8::multiply(x, forward, y, init),
            Weight::F32(w) => {
                let mut add = write == Write::Accumulate;
                if let (false, Some(bias)) = (add, &self.bias) {
                    let rows = y.par_chunks_exact_mut(self.outputs);
                    rows.for_each(|y| y.copy_from_slice(bias));
                    add = true;
                }
                if rows <= SMALL_BATCH_ROWS {
                    return small_batch(x, w, self.inputs, self.outputs, y, add);
                }
                let w = Mat::rows(w, self.outputs, self.inputs, self.inputs).transposed();
                let x = Mat::rows(x, rows, self.inputs, self.inputs);
                let y = MatMut::rows(y, rows, self.outputs, self.outputs);
                matmul(y, add, 1.0, x, w, true);
            }
        }
    }

    /// [`Linear::forward`] of packed rows, with the adapters' second product added.
    ///
    /// # Panics
    /// If the weights are not in bf16.
    pub fn forward_with_lora(
        &self,
        x: &PackedRows,
        y: &mut [f32],
        write: Write,
        lora: &LoraEpilogue,
    ) {
        let w = self.bf16().as_stored();
        bf16::multiply_with_lora(x, w, y, self.init(write), Some(lora));
    }

    /// [`Linear::input_grad`] of packed rows, with the adapters' second product added.
    ///
    /// # Panics
    /// If the weights are not in bf16.
    pub fn input_grad_with_lora(&self, dy: &PackedRows, dx: &mut [f32], lora: &LoraEpilogue) {
        let w = self.bf16().transposed();
        bf16::multiply_with_lora(dy, w, dx, Init::Zero, Some(lora));
    }

    fn bf16(&self) -> &bf16::Weights {
        match &self.weight {
            Weight::Bf16(w) => w,
            _ => unreachable!("only bf16 weights have a LoRA epilogue"),
        }
    }

    fn init(&self, write: Write) -> Init<'_> {
        match (write, &self.bias) {
            (Write::Accumulate, _) => Init::Accumulate,
            (Write::Overwrite, Some(bias)) => Init::Bias(bias),
            (Write::Overwrite, None) => Init::Zero,
        }
    }

    /// `dx[T, inputs] = dy[T, outputs] · W`
    pub fn input_grad(&self, dy: &[f32], dx: &mut [f32], packed: &mut PackedRows) {
        let rows = dy.len() / self.outputs;
        match &self.weight {
            Weight::Bf16(w) => {
                packed.pack(dy, self.outputs);
                bf16::multiply(packed, w.transposed(), dx, Init::Zero);
            }
            Weight::Int8 { forward, backward } => {
                let w = backward.get_or_init(|| forward.transpose());
                int8::multiply(dy, w, dx, Init::Zero);
            }
            Weight::F32(w) => {
                let w = Mat::rows(w, self.outputs, self.inputs, self.inputs);
                let dy = Mat::rows(dy, rows, self.outputs, self.outputs);
                let dx = MatMut::rows(dx, rows, self.inputs, self.inputs);
                matmul(dx, false, 1.0, dy, w, true);
            }
        }
    }

    /// Some rows of the weight, as f32.
    pub fn rows(&self, which: &[u32]) -> Vec<f32> {
        let mut rows = vec![0.0; which.len() * self.inputs];
        let of = rows.par_chunks_exact_mut(self.inputs).zip(which);
        of.for_each(|(row, n)| self.row(*n as usize, row));
        rows
    }

    /// Row `n` of the weight, as f32: the embedding of token n, if the matrix is the embedding.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        match &self.weight {
            Weight::Bf16(w) => w.row(n, out),
            Weight::Int8 { forward, .. } => forward.row(n, out),
            Weight::F32(w) => out.copy_from_slice(&w[n * self.inputs..(n + 1) * self.inputs]),
        }
    }
}

/// The matrices of a layer, all as a file's codes or all as floats.
enum Parts {
    Floats(Vec<Vec<f32>>),
    Blocks(Vec<Blocks>),
}

impl Parts {
    fn new(parts: Vec<Matrix>) -> Self {
        let quantised = |part: &Matrix| matches!(part, Matrix::Blocks(_));
        if !parts.iter().all(quantised) {
            return Parts::Floats(parts.into_iter().map(Matrix::into_floats).collect());
        }
        let blocks = parts.into_iter().filter_map(|part| match part {
            Matrix::Blocks(blocks) => Some(blocks),
            Matrix::Floats(_) => None,
        });
        Parts::Blocks(blocks.collect())
    }

    fn into_floats(self) -> Vec<Vec<f32>> {
        match self {
            Parts::Floats(parts) => parts,
            Parts::Blocks(parts) => parts.iter().map(Blocks::floats).collect(),
        }
    }
}
