//! A frozen linear layer: forward, and the gradient of its input. Never the gradient of its weight.

use super::kernels::Start;
use super::kernels::bf16::side::Beside;
use super::kernels::bf16::{self, Rows};
use super::kernels::f32::{Mat, MatMut, few_rows, matmul};
use super::kernels::int8;
use crate::weights::{Blocks, Matrix};
use rayon::prelude::*;
use std::sync::OnceLock;

/// Below this many rows the f32 form reads the weights once, dot by dot, instead of packing them.
const FEW_ROWS: usize = 4;

pub struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    bias: Option<Vec<f32>>,
    form: Form,
}

enum Form {
    /// `[outputs, inputs]`
    F32(Vec<f32>),
    Bf16(bf16::Weights),
    Int8 {
        forward: int8::Panels,
        /// The transposed weight, made when the first gradient asks for it: serving never pays.
        backward: OnceLock<int8::Panels>,
    },
}

/// The number format of a layer's weights, and of what is multiplied with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    F32,
    /// Weights and activations in bf16.
    Bf16,
    /// Weights of at most eight bits, activations in f32.
    Int8,
}

/// What the output holds before the product comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Into {
    /// Nothing: it is set to the bias plus the product.
    Set,
    /// The residual stream: the product is added.
    Add,
}

impl Linear {
    /// Stacks matrices `[n_i, inputs]` on top of each other.
    pub fn new(parts: Vec<Matrix>, inputs: usize, bias: Option<Vec<f32>>, format: Format) -> Self {
        let outputs = parts.iter().map(|p| p.count() / inputs).sum();
        let form = match (format, Parts::new(parts)) {
            (Format::F32, parts) => Form::F32(parts.into_floats().concat()),
            (Format::Bf16, parts) => Form::Bf16(match &parts {
                Parts::Blocks(parts) => bf16::Weights::coded(parts, inputs),
                Parts::Floats(parts) => bf16::Weights::pack(parts, inputs),
            }),
            (Format::Int8, parts) => Form::Int8 {
                forward: match &parts {
                    Parts::Blocks(parts) => int8::Panels::of_blocks(parts, inputs),
                    Parts::Floats(parts) => int8::Panels::pack(parts, inputs),
                },
                backward: OnceLock::new(),
            },
        };
        Linear {
            inputs,
            outputs,
            bias,
            form,
        }
    }

    /// `y[T, outputs] = x[T, inputs] · Wᵀ + bias`; with [`Into::Add`] there is no bias.
    pub fn forward(&self, x: &[f32], y: &mut [f32], into: Into, packed: &mut Rows) {
        let rows = x.len() / self.inputs;
        let start = self.start(into);
        match &self.form {
            Form::Bf16(w) => {
                packed.pack(x, self.inputs);
                bf16::multiply(packed, w.straight(), y, start);
            }
            Form::Int8 { forward, .. } => int8::multiply(x, forward, y, start),
            Form::F32(w) => {
                let mut add = into == Into::Add;
                if let (false, Some(bias)) = (add, &self.bias) {
                    let rows = y.par_chunks_exact_mut(self.outputs);
                    rows.for_each(|y| y.copy_from_slice(bias));
                    add = true;
                }
                if rows <= FEW_ROWS {
                    return few_rows(x, w, self.inputs, self.outputs, y, add);
                }
                let w = Mat::rows(w, self.outputs, self.inputs, self.inputs).transposed();
                let x = Mat::rows(x, rows, self.inputs, self.inputs);
                let y = MatMut::rows(y, rows, self.outputs, self.outputs);
                matmul(y, add, 1.0, x, w, true);
            }
        }
    }

    /// [`Linear::forward`] of packed rows, with a product beside it.
    ///
    /// # Panics
    /// If the weights are not in bf16; likewise below.
    pub fn forward_beside(&self, x: &Rows, y: &mut [f32], into: Into, beside: &Beside) {
        let w = self.bf16().straight();
        bf16::multiply_beside(x, w, y, self.start(into), Some(beside));
    }

    /// [`Linear::input_grad`] of packed rows, with a product beside it.
    pub fn input_grad_beside(&self, dy: &Rows, dx: &mut [f32], beside: &Beside) {
        let w = self.bf16().transposed();
        bf16::multiply_beside(dy, w, dx, Start::Zero, Some(beside));
    }

    fn bf16(&self) -> &bf16::Weights {
        match &self.form {
            Form::Bf16(w) => w,
            _ => unreachable!("only bf16 weights have a product beside them"),
        }
    }

    fn start(&self, into: Into) -> Start<'_> {
        match (into, &self.bias) {
            (Into::Add, _) => Start::Keep,
            (Into::Set, Some(bias)) => Start::Bias(bias),
            (Into::Set, None) => Start::Zero,
        }
    }

    /// `dx[T, inputs] = dy[T, outputs] · W`
    pub fn input_grad(&self, dy: &[f32], dx: &mut [f32], packed: &mut Rows) {
        let rows = dy.len() / self.outputs;
        match &self.form {
            Form::Bf16(w) => {
                packed.pack(dy, self.outputs);
                bf16::multiply(packed, w.transposed(), dx, Start::Zero);
            }
            Form::Int8 { forward, backward } => {
                let w = backward.get_or_init(|| forward.transpose());
                int8::multiply(dy, w, dx, Start::Zero);
            }
            Form::F32(w) => {
                let w = Mat::rows(w, self.outputs, self.inputs, self.inputs);
                let dy = Mat::rows(dy, rows, self.outputs, self.outputs);
                let dx = MatMut::rows(dx, rows, self.inputs, self.inputs);
                matmul(dx, false, 1.0, dy, w, true);
            }
        }
    }

    /// Row `n` of the weight: the embedding of token n, where the matrix is the embedding.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        match &self.form {
            Form::Bf16(w) => w.row(n, out),
            Form::Int8 { forward, .. } => forward.row(n, out),
            Form::F32(w) => out.copy_from_slice(&w[n * self.inputs..(n + 1) * self.inputs]),
        }
    }
}

/// The matrices of a layer: all as a file's codes, or all as floats.
enum Parts {
    Floats(Vec<Vec<f32>>),
    Blocks(Vec<Blocks>),
}

impl Parts {
    fn new(parts: Vec<Matrix>) -> Self {
        let coded = |part: &Matrix| matches!(part, Matrix::Blocks(_));
        if !parts.iter().all(coded) {
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
