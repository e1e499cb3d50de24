//! A linear layer of the base model: `y = x · Wᵀ + bias`, x `[T, in]`, W `[out, in]`, y `[T, out]`.
//!
//! candle's own product would also compute the gradient of W, a third of the work of a training step, which nobody
//! needs. This operation computes the gradient of its input alone, `dx = dy · W`, and leaves W out of the graph.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor, bail,
};

pub struct FrozenLinear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl FrozenLinear {
    /// `weight` `[out, in]` contiguous from its start, `bias` `[out]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        FrozenLinear { weight, bias }
    }

    /// `[out, in]`
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// `[out]`
    pub fn bias(&self) -> Option<&Tensor> {
        self.bias.as_ref()
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let product = FrozenProduct {
            weight: self.weight.clone(),
        };
        let y = x.contiguous()?.apply_op1(product)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// `x · Wᵀ` with a gradient for x alone.
struct FrozenProduct {
    weight: Tensor,
}

impl FrozenProduct {
    fn product<S: BackendStorage>(&self, x: &S, x_layout: &Layout, w: &S) -> Result<(S, Shape)> {
        let (rows, inputs) = x_layout.shape().dims2()?;
        let (outputs, expected) = self.weight.dims2()?;
        if inputs != expected {
            bail!("a linear layer of {expected} inputs was given {inputs}");
        }
        let transposed = self.weight.layout().transpose(0, 1)?;
        let y = x.matmul(w, (1, rows, outputs, inputs), x_layout, &transposed)?;
        Ok((y, Shape::from((rows, outputs))))
    }
}

impl CustomOp1 for FrozenProduct {
    fn name(&self) -> &'static str {
        "frozen-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        match &*self.weight.storage_and_layout().0 {
            Storage::Cpu(w) => self.product(x, layout, w),
            _ => bail!("the weight is not on the CPU, its input is"),
        }
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        match &*self.weight.storage_and_layout().0 {
            Storage::Cuda(w) => self.product(x, layout, w),
            _ => bail!("the weight is not on the GPU, its input is"),
        }
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        dy.contiguous()?.matmul(&self.weight).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn its_input_gradient_is_that_of_a_plain_product_and_its_weight_has_none() -> Result<()> {
        let device = &Device::Cpu;
        let weight = Var::randn(0f32, 1.0, (5, 3), device)?;
        let bias = Tensor::randn(0f32, 1.0, 5, device)?;
        let x = Var::randn(0f32, 1.0, (4, 3), device)?;
        let readout = Tensor::randn(0f32, 1.0, (4, 5), device)?;

        let linear = FrozenLinear::new(weight.as_tensor().clone(), Some(bias.clone()));
        let frozen = linear.forward(&x)?;
        let plain = x.matmul(&weight.t()?)?.broadcast_add(&bias)?;
        assert_eq!(frozen.to_vec2::<f32>()?, plain.to_vec2::<f32>()?);

        let frozen_grads = (frozen * &readout)?.sum_all()?.backward()?;
        let plain_grads = (plain * &readout)?.sum_all()?.backward()?;
        assert!(frozen_grads.get(&weight).is_none());
        assert!(plain_grads.get(&weight).is_some());
        let (frozen, plain) = (frozen_grads.get(&x).unwrap(), plain_grads.get(&x).unwrap());
        let difference = (frozen - plain)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(difference < 1e-6, "gradients differ by {difference}");
        Ok(())
    }
}
