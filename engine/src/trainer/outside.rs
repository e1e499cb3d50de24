//! Training outside of what was learned before: the first ranks of an adapter stay as they are, and the rows of
//! A after them stay orthogonal to theirs, so that inputs which earlier updates read pass the new ones by
//! (the idea of O-LoRA, arXiv 2310.14152, which adds a penalty; here it holds exactly).

use crate::lora::{Lora, LoraGrads, LoraPair, basis};
use rayon::prelude::*;

#[derive(Debug)]
pub struct Outside {
    /// The ranks that are kept.
    kept: usize,
    rank: usize,
    /// Of each pair in the adapter's order, an orthonormal basis of the kept rows of A: `[kept, inputs]`.
    bases: Vec<Vec<f32>>,
}

impl Outside {
    pub fn new(lora: &Lora, kept: usize) -> Self {
        let rank = lora.config.rank;
        let pairs: Vec<&LoraPair> = lora.layers.iter().flatten().flatten().collect();
        let of = |pair: &&LoraPair| {
            let inputs = pair.a.len() / rank;
            let basis = basis(&pair.a[..kept * inputs], inputs);
            basis.into_iter().map(|x| x as f32).collect()
        };
        Outside {
            kept,
            rank,
            bases: pairs.par_iter().map(of).collect(),
        }
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
    pub fn project(&self, lora: &mut Lora) {
        let pairs: Vec<&mut LoraPair> = lora.layers.iter_mut().flatten().flatten().collect();
        pairs
            .into_par_iter()
            .zip(&self.bases)
            .for_each(|(pair, basis)| {
                let inputs = pair.a.len() / self.rank;
                for row in pair.a[self.kept * inputs..].chunks_exact_mut(inputs) {
                    for direction in basis.chunks_exact(inputs) {
                        let along: f32 = row.iter().zip(direction).map(|(x, d)| x * d).sum();
                        row.iter_mut()
                            .zip(direction)
                            .for_each(|(x, d)| *x -= along * d);
                    }
                }
            });
    }
}
