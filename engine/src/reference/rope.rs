//! Rotary position embedding (arXiv 2104.09864), half-split: element i of a head is rotated with element i + D/2
//! by the angle `position · frequency_i`. It is composed of differentiable operations, because candle's fused
//! `rope` has no backward.

use crate::config::ModelConfig;
use candle_core::{Device, Result, Tensor};

/// The rotary angles of one batch's rows.
pub struct Rotary {
    /// `[T, 1, D/2]`
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    pub fn new(config: &ModelConfig, positions: &[u32], device: &Device) -> Result<Self> {
        let frequencies = config.inverse_frequencies();
        let angles: Vec<f32> = positions
            .iter()
            .flat_map(|p| frequencies.iter().map(move |f| *p as f32 * f))
            .collect();
        let angles = Tensor::from_vec(angles, (positions.len(), 1, frequencies.len()), device)?;
        Ok(Rotary {
            cos: angles.cos()?,
            sin: angles.sin()?,
        })
    }

    /// Rotates `x` `[T, heads, D]`.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let half = x.dim(2)? / 2;
        let (left, right) = (x.narrow(2, 0, half)?, x.narrow(2, half, half)?);
        let rotated_left = (left.broadcast_mul(&self.cos)? - right.broadcast_mul(&self.sin)?)?;
        let rotated_right = (right.broadcast_mul(&self.cos)? + left.broadcast_mul(&self.sin)?)?;
        Tensor::cat(&[rotated_left, rotated_right], 2)
    }
}
