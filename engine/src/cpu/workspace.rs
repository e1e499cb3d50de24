//! Buffers that outlive a call: fresh memory is faulted in page by page, which costs as much as the
//! arithmetic.

use super::kernels::bf16::PackedRows;
use super::plan::Rotation;

/// Everything a pass writes.
#[derive(Default)]
pub struct Workspace {
    /// The residual stream `[T, hidden]`, and its gradient.
    pub hidden: Buffer,
    pub d_hidden: Buffer,
    /// What backward reads, layer by layer; a pass without backward uses the first alone.
    pub layers: Vec<Saved>,
    pub temp: Temp,
    /// Of a pass in parts, from one part to the next.
    pub rotation: Rotation,
}

/// One layer's activations.
#[derive(Default)]
pub struct Saved {
    /// The residual stream before attention, and before the MLP.
    pub input: Buffer,
    pub middle: Buffer,
    /// q, k and v before their norm (Qwen3 alone).
    pub raw: Buffer,
    /// q, k and v side by side, rotated.
    pub qkv: Buffer,
    pub attention: Buffer,
    /// `[T, heads]`
    pub lse: Buffer,
    pub gate_up: Buffer,
    /// `x · Aᵀ` of the adapters, for each group of projections that share their input.
    pub lora: [Buffer; 4],
}

/// What no later layer needs.
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

/// Activations in bf16: the frozen product's, and the adapters' between A and B.
#[derive(Default)]
pub struct Packed {
    pub x: PackedRows,
    pub inner: PackedRows,
}

/// A vector that only grows.
#[derive(Default)]
pub struct Buffer(Vec<f32>);

impl Buffer {
    /// The first `len` elements, of any content.
    pub fn of(&mut self, len: usize) -> &mut [f32] {
        if self.0.len() < len {
            self.0 = vec![0.0; len];
        }
        &mut self.0[..len]
    }

    /// The first `len` elements, as an earlier step wrote them.
    pub fn get(&self, len: usize) -> &[f32] {
        &self.0[..len]
    }
}
