//! RMSNorm, `y = x / √(mean(x²) + eps) · weight` over the last dimension.
//!
//! It is composed of differentiable operations, because candle's fused `rms_norm` has no backward.

use candle_core::{D, Result, Tensor};

pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    pub fn new(weight: Tensor, eps: f32) -> Self {
        RmsNorm {
            weight,
            eps: eps as f64,
        }
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mean = x.sqr()?.mean_keepdim(D::Minus1)?;
        x.broadcast_div(&(mean + self.eps)?.sqrt()?)?
            .broadcast_mul(&self.weight)
    }
}
