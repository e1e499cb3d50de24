//! Room beside what an adapter has learned: further ranks for what comes next, and fewer ranks for what came
//! before.

use super::{Lora, LoraPair, uniform};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

impl Lora {
    /// This adapter with `rank` fresh ranks after its own, at the same scale. A as [`Lora::init`] draws it, but
    /// orthogonal to the rows that are there; B zero: it says the same until they are trained.
    pub fn beside(&self, rank: usize, seed: u64) -> Lora {
        let (old, mut rng) = (self.config.rank, ChaCha8Rng::seed_from_u64(seed));
        let drawn = self.pairs().map(|pair| {
            let inputs = pair.a.len() / old;
            uniform(&mut rng, rank * inputs, 1.0 / (inputs as f32).sqrt())
        });
        let drawn: Vec<Vec<f32>> = drawn.collect();
        self.of_rank(old + rank, |nth, pair| {
            let inputs = pair.a.len() / old;
            let rows = pair.b.chunks_exact(old);
            let widened = rows.flat_map(|row| row.iter().copied().chain(vec![0.0; rank]));
            LoraPair {
                a: [pair.a.clone(), outside(&drawn[nth], &pair.a, inputs)].concat(),
                b: widened.collect(),
            }
        })
    }

    /// The adapter of at most `rank` ranks whose products B·A are nearest to this one's (least squares; Eckart
    /// and Young).
    pub fn compressed(&self, rank: usize) -> Lora {
        let old = self.config.rank;
        if old <= rank {
            return self.clone();
        }
        self.of_rank(rank, |_, pair| nearest(pair, old, rank))
    }

    /// The fewest inputs that a pair has; its A has no more directions than that.
    pub fn fewest_inputs(&self) -> usize {
        let inputs = self.pairs().map(|pair| pair.a.len() / self.config.rank);
        inputs.min().unwrap_or(usize::MAX)
    }

    fn pairs(&self) -> impl Iterator<Item = &LoraPair> {
        self.layers.iter().flatten().flatten()
    }

    /// With every pair, by its number, made another.
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

/// What of each of the `rows` is orthogonal to all those of `a`.
fn outside(rows: &[f32], a: &[f32], inputs: usize) -> Vec<f32> {
    let basis = basis(a, inputs);
    let mut all = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(inputs) {
        let mut row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        take_out(&mut row, &basis);
        all.extend(row.iter().map(|x| *x as f32));
    }
    all
}

/// An orthonormal basis of the space that the rows of `a` (`[.., inputs]`) span: at most as many rows, each
/// from the row at its place, zero where that one lies in the space of those before it.
pub(crate) fn basis(a: &[f32], inputs: usize) -> Vec<f64> {
    let mut basis: Vec<f64> = Vec::with_capacity(a.len());
    for row in a.chunks_exact(inputs) {
        let mut row: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        let length = dot(&row, &row).sqrt();
        take_out(&mut row, &basis);
        let left = dot(&row, &row).sqrt();
        let scale = if left > 1e-6 * length {
            1.0 / left
        } else {
            0.0
        };
        basis.extend(row.iter().map(|x| scale * x));
    }
    basis
}

/// Makes a row orthogonal to those of a basis.
fn take_out(row: &mut [f64], basis: &[f64]) {
    // Twice is enough against rounding (Kahan and Parlett).
    for _ in 0..2 {
        for direction in basis.chunks_exact(row.len()) {
            let share = dot(row, direction);
            row.iter_mut()
                .zip(direction)
                .for_each(|(x, d)| *x -= share * d);
        }
    }
}

/// With A = L·Q, Q of orthonormal rows, B·A = C·Q for C = B·L; the best of C is its part along the largest
/// eigenvectors V of CᵀC, so A' = Vᵀ·Q and B' = C·V.
fn nearest(pair: &LoraPair, old: usize, rank: usize) -> LoraPair {
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

/// Of a symmetric matrix, those of the largest eigenvalues first (cyclic Jacobi rotations).
fn eigenvectors(mut m: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = m.len();
    let mut vectors = vec![vec![0.0; n]; n];
    (0..n).for_each(|i| vectors[i][i] = 1.0);
    let total: f64 = m.iter().flatten().map(|x| x * x).sum();
    for _ in 0..MOST_SWEEPS {
        let off: f64 = (0..n)
            .flat_map(|i| (0..i).map(move |j| (i, j)))
            .map(|(i, j)| m[i][j] * m[i][j])
            .sum();
        if off <= 1e-24 * total {
            break;
        }
        for i in 0..n {
            for j in i + 1..n {
                if m[i][j] != 0.0 {
                    let angle = 0.5 * (2.0 * m[i][j]).atan2(m[i][i] - m[j][j]);
                    let (sin, cos) = angle.sin_cos();
                    for row in &mut m {
                        (row[i], row[j]) =
                            (cos * row[i] + sin * row[j], cos * row[j] - sin * row[i]);
                    }
                    turn(&mut m, i, j, sin, cos);
                    turn(&mut vectors, i, j, sin, cos);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| m[j][j].total_cmp(&m[i][i]));
    order
        .into_iter()
        .map(|i| std::mem::take(&mut vectors[i]))
        .collect()
}

/// It converges quadratically: six to ten are what it takes.
const MOST_SWEEPS: usize = 30;

/// Rows i and j of `m`, i < j, turned in their plane.
fn turn(m: &mut [Vec<f64>], i: usize, j: usize, sin: f64, cos: f64) {
    let (upper, lower) = m.split_at_mut(j);
    for (x, y) in upper[i].iter_mut().zip(&mut lower[0]) {
        (*x, *y) = (cos * *x + sin * *y, cos * *y - sin * *x);
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    // Eight lanes, so that the compiler can use whole vectors.
    let mut lanes = [0.0; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f64 = xs
        .remainder()
        .iter()
        .zip(ys.remainder())
        .map(|(x, y)| x * y)
        .sum();
    for (x, y) in xs.zip(ys) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f64>() + rest
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
        let wider = lora.beside(5, 2);
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

    #[test]
    fn a_basis_is_orthonormal_and_leaves_out_what_depends() {
        let a = [3.0, 0.0, 0.0, 1.0, 1.0, 0.0, 4.0, 2.0, 0.0];
        let q = basis(&a, 3);
        assert_eq!(q, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
