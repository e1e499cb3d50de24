//! Training outside of what was learned before: the first ranks of an adapter stay as they are, and the rows of
//! A after them stay orthogonal to theirs, so that inputs which earlier updates read pass the new ones by
//! (the idea of O-LoRA, arXiv 2310.14152, which adds a penalty; here it holds exactly).

use crate::error::Result;
use crate::lora::{Lora, LoraGrads, LoraPair, basis};
use candle_core::{Device, Tensor};
use rayon::prelude::*;

#[derive(Debug)]
pub struct Outside {
    /// The ranks that are kept.
    kept: usize,
    rank: usize,
    /// Of each pair in the adapter's order, an orthonormal basis of the kept rows of A: `[kept, inputs]`.
    bases: Vec<Tensor>,
}

impl Outside {
    pub fn new(lora: &Lora, kept: usize) -> Result<Self> {
        let rank = lora.config.rank;
        let pairs: Vec<&LoraPair> = lora.layers.iter().flatten().flatten().collect();
        let of = |pair: &&LoraPair| {
            let inputs = pair.a.len() / rank;
            let basis = basis(&pair.a[..kept * inputs], inputs);
            let basis: Vec<f32> = basis.into_iter().map(|x| x as f32).collect();
            Ok(Tensor::from_vec(basis, (kept, inputs), &Device::Cpu)?)
        };
        Ok(Outside {
            kept,
            rank,
            bases: pairs.par_iter().map(of).collect::<Result<_>>()?,
        })
    }

    /// Takes the kept ranks out of a gradient: they neither move nor count in its length.
    pub fn hold(&self, grads: &mut LoraGrads) {
        for pair in grads.iter_mut().flatten().flatten() {
            let inputs = pair.a.len() / self.rank;
            pair.a[..self.kept * inputs].fill(0.0);
            for row in pair.b.chunks_exact_mut(self.rank) {
                row[..self.kept].fill(0.0);
            }
        }
    }

    /// Takes out of the new rows of A what lies along the kept ones.
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
