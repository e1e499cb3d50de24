//! Buffers that outlive a call. Fresh memory is faulted in page by page, which costs as much as the arithmetic.

use super::kernels::bf16::PackedRows;
use super::plan::Rotary;

/// Everything that a pass writes.
#[derive(Default)]
pub struct Workspace {
    /// The residual stream, `[T, hidden]`.
    pub hidden: Buffer,
    /// The gradient of the residual stream.
    pub d_hidden: Buffer,
    /// The activations that backward reads, by layer; a pass without backward uses the first entry alone.
    pub layers: Vec<Saved>,
    pub temp: Temp,
    /// Kept from one part of a training pass to the next.
    pub rotary: Rotary,
}

/// One layer's activations.
#[derive(Default)]
pub struct Saved {
    /// The residual stream before attention, `[T, hidden]`.
    pub input: Buffer,
    /// The residual stream before the MLP, `[T, hidden]`.
    pub middle: Buffer,
    /// `qkv` before its norms (Qwen3 alone).
    pub raw: Buffer,
    /// q, k and v side by side, q and k rotated: `[T, q_dim + 2 · kv_dim]`.
    pub qkv: Buffer,
    /// The output of attention, `[T, q_dim]`.
    pub attention: Buffer,
    /// The log-sum-exp of every row's scores, `[T, heads]`.
    pub lse: Buffer,
    /// `[T, 2 · intermediate]`
    pub gate_up: Buffer,
    /// `x · Aᵀ` of the adapters, by group ([`super::shape`]): `[levels][T][members][rank]`.
    pub lora: [Buffer; 4],
}

/// Buffers that no later layer reads.
#[derive(Default)]
pub struct Temp {
    pub x: Buffer,
    pub wide: Buffer,
    pub d_x: Buffer,
    pub d_qkv: Buffer,
    pub d_gate_up: Buffer,
    pub d_lora: Buffer,
    pub logits: Buffer,
    pub packed: Packed,
}

/// Activations packed in bf16.
#[derive(Default)]
pub struct Packed {
    /// The input of a frozen product.
    pub x: PackedRows,
    /// `x · Aᵀ` of the adapters.
    pub inner: PackedRows,
}

/// A vector that only grows.
#[derive(Default)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// The first `len` elements, of any content; grows the vector if need be.
    pub fn get_mut(&mut self, len: usize) -> &mut [f32] {
        if self.0.len() < len {
            self.0 = vec![0.0; len];
        }
        &mut self.0[..len]
    }

    /// The first `len` elements, as an earlier step wrote them. Panics if there are fewer.
    pub fn get(&self, len: usize) -> &[f32] {
        &self.0[..len]
    }
}
