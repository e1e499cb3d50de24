//! Orthogonal training: the first ranks of an adapter stay as they are, and the later rows of A stay
//! orthogonal to the first ones. New ranks then ignore the inputs that earlier updates read.
//!
//! The idea is O-LoRA's (arXiv 2310.14152). O-LoRA adds a penalty to the loss; here a projection after every
//! step keeps the rows orthogonal exactly.

use crate::error::Result;
use crate::lora::{Lora, LoraGrads, LoraPair, basis};
use candle_core::{Device, Tensor};
use rayon::prelude::*;

#[derive(Debug)]
pub struct OrthogonalProjection {
    /// Ranks that stay as they are.
    kept: usize,
    rank: usize,
    /// For each pair, in the adapter's order, an orthonormal basis of the kept rows of A: `[kept, inputs]`.
    bases: Vec<Tensor>,
}

impl OrthogonalProjection {
    pub fn new(lora: &Lora, kept: usize) -> Result<Self> {
        let rank = lora.config.rank;
        let pairs: Vec<&LoraPair> = lora.layers.iter().flatten().flatten().collect();
        let of = |pair: &&LoraPair| {
            let inputs = pair.a.len() / rank;
            let basis = basis(&pair.a[..kept * inputs], inputs);
            let basis: Vec<f32> = basis.into_iter().map(|x| x as f32).collect();
            Ok(Tensor::from_vec(basis, (kept, inputs), &Device::Cpu)?)
        };
        Ok(OrthogonalProjection {
            kept,
            rank,
            bases: pairs.par_iter().map(of).collect::<Result<_>>()?,
        })
    }

    /// Sets the gradient of the kept ranks to zero: they neither move nor count in the gradient's norm.
    pub fn mask_kept(&self, grads: &mut LoraGrads) {
        for pair in grads.iter_mut().flatten().flatten() {
            let inputs = pair.a.len() / self.rank;
            pair.a[..self.kept * inputs].fill(0.0);
            for row in pair.b.chunks_exact_mut(self.rank) {
                row[..self.kept].fill(0.0);
            }
        }
    }

    /// Subtracts from the new rows of A their part along the kept rows.
    pub fn project(&self, lora: &mut Lora) -> Result<()> {
        let new = self.rank - self.kept;
        for (pair, basis) in lora.layers.iter_mut().flatten().flatten().zip(&self.bases) {
            let inputs = pair.a.len() / self.rank;
            let rows = &mut pair.a[self.kept * inputs..];
            let before = Tensor::from_slice(rows, (new, inputs), &Device::Cpu)?;
            let along = before.matmul(&basis.t()?)?.matmul(basis)?;
            let after = (before - along)?.flatten_all()?.to_vec1::<f32>()?;
            rows.copy_from_slice(&after);
        }
        Ok(())
    }
}
