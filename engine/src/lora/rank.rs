//! Changes an adapter's rank: fresh ranks for what comes next, and fewer ranks for what was learned before.

use super::linalg::{basis, dot, eigenvectors, orthogonal_part};
use super::{Lora, LoraPair, uniform};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

impl Lora {
    /// This adapter with `rank` fresh ranks after its own, at the same scale. The fresh rows of A are drawn as
    /// [`Lora::init`] draws them and made orthogonal to the old rows; the fresh columns of B are zero. The
    /// adapter computes the same until the fresh ranks are trained.
    pub fn with_added_rank(&self, rank: usize, seed: u64) -> Lora {
        let (old, mut rng) = (self.config.rank, ChaCha8Rng::seed_from_u64(seed));
        let drawn = self.pairs().map(|pair| {
            let inputs = pair.a.len() / old;
            uniform(&mut rng, rank * inputs, 1.0 / (inputs as f32).sqrt())
        });
        let drawn: Vec<Vec<f32>> = drawn.collect();
        self.of_rank(old + rank, |nth, pair| {
            let inputs = pair.a.len() / old;
            let rows = pair.b.chunks_exact(old);
            let padded = rows.flat_map(|row| row.iter().copied().chain(vec![0.0; rank]));
            LoraPair {
                a: [
                    pair.a.clone(),
                    orthogonal_part(&drawn[nth], &pair.a, inputs),
                ]
                .concat(),
                b: padded.collect(),
            }
        })
    }

    /// The adapter of at most `rank` ranks whose products B·A are nearest to this one's in the Frobenius norm: a
    /// truncated singular value decomposition (Eckart and Young).
    pub fn compressed(&self, rank: usize) -> Lora {
        let old = self.config.rank;
        if old <= rank {
            return self.clone();
        }
        self.of_rank(rank, |_, pair| truncated(pair, old, rank))
    }

    /// The inputs of the narrowest layer that has a pair: no rank above that adds a direction. `usize::MAX` without
    /// pairs.
    pub fn fewest_inputs(&self) -> usize {
        let inputs = self.pairs().map(|pair| pair.a.len() / self.config.rank);
        inputs.min().unwrap_or(usize::MAX)
    }

    fn pairs(&self) -> impl Iterator<Item = &LoraPair> {
        self.layers.iter().flatten().flatten()
    }

    /// A copy of this rank and the same scale; `make` makes each pair from its number and the old pair.
    fn of_rank(&self, rank: usize, make: impl Fn(usize, &LoraPair) -> LoraPair + Sync) -> Lora {
        let mut result = self.clone();
        result.config.alpha = self.config.scale() * rank as f32;
        result.config.rank = rank;
        let pairs: Vec<_> = result.layers.iter_mut().flatten().flatten().collect();
        let pairs = pairs.into_par_iter().enumerate();
        pairs.for_each(|(nth, pair)| *pair = make(nth, pair));
        result
    }
}

/// The nearest pair of a lower rank. With A = L·Q, Q of orthonormal rows, and C = B·L, the product is
/// B·A = C·Q. The best approximation keeps C's part along the largest eigenvectors V of CᵀC: A' = Vᵀ·Q and
/// B' = C·V.
fn truncated(pair: &LoraPair, old: usize, rank: usize) -> LoraPair {
    let inputs = pair.a.len() / old;
    let q = basis(&pair.a, inputs);
    let a = pair.a.chunks_exact(inputs);
    let l: Vec<Vec<f64>> = a
        .map(|row| {
            let row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
            q.chunks_exact(inputs).map(|q| dot(&row, q)).collect()
        })
        .collect();
    let c = pair.b.chunks_exact(old);
    let c: Vec<Vec<f64>> = c
        .map(|row| {
            let mut sums = vec![0.0; old];
            for (b, l) in row.iter().zip(&l) {
                sums.iter_mut()
                    .zip(l)
                    .for_each(|(s, l)| *s += f64::from(*b) * l);
            }
            sums
        })
        .collect();
    let mut gram = vec![vec![0.0; old]; old];
    for row in &c {
        for (sums, x) in gram.iter_mut().zip(row) {
            sums.iter_mut().zip(row).for_each(|(s, y)| *s += x * y);
        }
    }
    let largest = eigenvectors(gram);
    let largest = &largest[..rank];
    let a = largest.iter().flat_map(|v| {
        let mut row = vec![0.0; inputs];
        for (share, q) in v.iter().zip(q.chunks_exact(inputs)) {
            row.iter_mut().zip(q).for_each(|(x, q)| *x += share * q);
        }
        row.into_iter().map(|x| x as f32)
    });
    let b = c
        .iter()
        .flat_map(|row| largest.iter().map(|v| dot(row, v) as f32));
    LoraPair {
        a: a.collect(),
        b: b.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;
    use crate::lora::LoraConfig;
    use crate::tiny::tiny_config;

    fn random(rank: usize, seed: u64) -> Lora {
        Lora::random(
            LoraConfig::all_linear(rank, 4.0),
            &tiny_config(Family::Llama),
            seed,
        )
    }

    /// scale · B · A of one layer.
    fn product(lora: &Lora) -> Vec<f32> {
        let (rank, pair) = (lora.config.rank, lora.layers[1][5].as_ref().unwrap());
        let inputs = pair.a.len() / rank;
        let rows = pair.b.chunks_exact(rank);
        let of = |row: &[f32], i: usize| {
            (0..rank)
                .map(|r| row[r] * pair.a[r * inputs + i])
                .sum::<f32>()
        };
        let all = rows.flat_map(|row| (0..inputs).map(move |i| of(row, i)).collect::<Vec<_>>());
        all.map(|x| lora.config.scale() * x).collect()
    }

    fn distance(one: &[f32], other: &[f32]) -> f32 {
        one.iter()
            .zip(other)
            .map(|(x, y)| (x - y).powi(2))
            .sum::<f32>()
            .sqrt()
    }

    #[test]
    fn fresh_ranks_change_nothing_and_go_again_without_loss() {
        let lora = random(3, 1);
        let wider = lora.with_added_rank(5, 2);
        wider.validate(&tiny_config(Family::Llama)).unwrap();
        assert_eq!(
            (wider.config.rank, wider.config.scale()),
            (8, lora.config.scale())
        );
        assert_eq!(product(&wider), product(&lora));
        let again = wider.compressed(3);
        again.validate(&tiny_config(Family::Llama)).unwrap();
        assert_eq!(
            (again.config.rank, again.config.scale()),
            (3, lora.config.scale())
        );
        assert!(distance(&product(&again), &product(&lora)) < 1e-5);
        assert_eq!(lora.compressed(3), lora);
        // The fresh rows of A are orthogonal to the old ones.
        let pair = wider.layers[1][5].as_ref().unwrap();
        let inputs = pair.a.len() / 8;
        let rows: Vec<&[f32]> = pair.a.chunks_exact(inputs).collect();
        for (old, new) in rows[..3]
            .iter()
            .flat_map(|old| rows[3..].iter().map(move |new| (old, new)))
        {
            let along: f32 = old.iter().zip(*new).map(|(x, y)| x * y).sum();
            assert!(along.abs() < 1e-6, "{along}");
        }
    }

    #[test]
    fn what_is_left_out_is_the_smallest_part() {
        // Ranks of falling weight: the best of 3 are near the heaviest 3, and nearer to the whole than those.
        let mut lora = random(6, 3);
        for pair in lora.layers.iter_mut().flatten().flatten() {
            for row in pair.b.chunks_exact_mut(6) {
                (0..6).for_each(|r| row[r] *= 0.3f32.powi(r as i32));
            }
        }
        let mut heaviest = lora.clone();
        for pair in heaviest.layers.iter_mut().flatten().flatten() {
            pair.b
                .chunks_exact_mut(6)
                .for_each(|row| row[3..].fill(0.0));
        }
        let whole = product(&lora);
        let (best, cut) = (product(&lora.compressed(3)), product(&heaviest));
        let nothing = vec![0.0; whole.len()];
        assert!(distance(&best, &whole) <= distance(&cut, &whole));
        assert!(distance(&best, &whole) < 0.1 * distance(&nothing, &whole));
    }
}
