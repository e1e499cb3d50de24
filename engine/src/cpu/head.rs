//! The final norm, the output projection and the cross-entropy, fused. Logits are made for wanted rows alone,
//! one block of rows at a time.

use super::extras::BatchExtras;
use super::kernels::bf16::block_rows;
use super::kernels::math;
use super::linear::{Linear, Write};
use super::shape::Shape;
use super::weights::Weights;
use super::workspace::Temp;
use crate::executor::{Likely, Score, Target};
use crate::logits::at_least;
use rayon::prelude::*;

/// Tokens whose rows of the projection are unpacked at a time.
const LARGE: usize = 4096;

/// Most logits at a time (64 MB).
const LOGITS: usize = 1 << 24;

/// The model's head.
pub struct Head<'a> {
    norm: &'a [f32],
    eps: f32,
    linear: &'a Linear,
    extras: &'a BatchExtras,
}

impl<'a> Head<'a> {
    pub fn new(weights: &'a Weights, shape: &Shape, extras: &'a BatchExtras) -> Self {
        Head {
            norm: &weights.norm,
            eps: shape.eps,
            linear: &weights.head,
            extras,
        }
    }

    /// The same head with another output projection.
    pub fn with(self, linear: &'a Linear) -> Self {
        Head { linear, ..self }
    }

    /// Logits of some rows of `h[T, hidden]`: `[rows.len(), vocab]`.
    pub fn logits(&self, h: &[f32], rows: &[usize], temp: &mut Temp) -> Vec<f32> {
        let vocab = self.linear.outputs;
        let mut logits = vec![0.0; rows.len() * vocab];
        let blocks = logits.chunks_mut(self.block() * vocab);
        for (rows, logits) in rows.chunks(self.block()).zip(blocks) {
            let x = temp.x.get_mut(rows.len() * self.norm.len());
            self.gather(h, rows.iter().copied(), x);
            let packed = &mut temp.packed.x;
            self.linear.forward(x, logits, Write::Overwrite, packed);
            let rows = rows.iter().copied();
            self.extras.score(rows, x, self.norm.len(), logits, packed);
        }
        logits
    }

    /// The score of each target.
    pub fn score(&self, h: &[f32], targets: &[Target], temp: &mut Temp) -> Vec<Score> {
        let mut scores = Vec::with_capacity(targets.len());
        for targets in targets.chunks(self.block()) {
            let x = temp.x.get_mut(targets.len() * self.norm.len());
            self.gather(h, targets.iter().map(|t| t.row), x);
            let vocab = self.linear.outputs;
            let logits = temp.logits.get_mut(targets.len() * vocab);
            let packed = &mut temp.packed.x;
            self.linear.forward(x, logits, Write::Overwrite, packed);
            let rows = targets.iter().map(|t| t.row);
            self.extras.score(rows, x, self.norm.len(), logits, packed);
            let rows = logits.par_chunks_exact_mut(vocab).zip(targets);
            scores.par_extend(rows.map(|(logits, target)| {
                let chosen = logits[target.token as usize];
                let top = math::max(logits);
                let sum = math::exp_sum(logits, 1.0, top);
                Score {
                    logprob: chosen - top - sum.ln(),
                    is_argmax: chosen == top,
                }
            }));
        }
        scores
    }

    /// The loss of each row of the targets (ascending rows). Adds the gradient of `Σ weight · nll` to `d_h[T, hidden]`.
    /// `watched`: also what matters at each row, whose gradient is then that of the larger probabilities
    /// ([`Likely::LEAST_GRADIENT`]).
    pub fn backward(
        &self,
        h: &[f32],
        targets: &[Target],
        watched: bool,
        d_h: &mut [f32],
        temp: &mut Temp,
    ) -> Vec<RowLoss> {
        let (vocab, hidden) = (self.linear.outputs, self.norm.len());
        // The targets of one row share its logits.
        let rows: Vec<&[Target]> = targets.chunk_by(|a, b| a.row == b.row).collect();
        let mut losses = Vec::with_capacity(rows.len());
        for rows in rows.chunks(self.block()) {
            let x = temp.x.get_mut(rows.len() * hidden);
            self.gather(h, rows.iter().map(|r| r[0].row), x);
            let logits = temp.logits.get_mut(rows.len() * vocab);
            self.linear
                .forward(x, logits, Write::Overwrite, &mut temp.packed.x);
            let of_rows = logits.par_chunks_exact_mut(vocab).zip(rows);
            let of_rows = of_rows.map(|(logits, targets)| row_gradient(logits, targets, watched));
            let of_rows: Vec<RowLoss> = of_rows.collect();
            let d_x = temp.d_x.get_mut(rows.len() * hidden);
            match watched {
                true => self.large_input_grad(logits, &of_rows, d_x),
                false => self.linear.input_grad(logits, d_x, &mut temp.packed.x),
            }
            losses.extend(of_rows);
            for (targets, d_x) in rows.iter().zip(d_x.chunks_exact(hidden)) {
                let row = targets[0].row * hidden..(targets[0].row + 1) * hidden;
                math::rms_norm_grad(&h[row.clone()], self.norm, self.eps, d_x, &mut d_h[row]);
            }
        }
        losses
    }

    /// The gradient of the input, of each row's large gradients alone. The result of a row depends on the row alone.
    fn large_input_grad(&self, d_logits: &[f32], rows: &[RowLoss], d_x: &mut [f32]) {
        let (vocab, hidden) = (self.linear.outputs, self.norm.len());
        let mut tokens: Vec<u32> = rows.iter().flat_map(|r| &r.large).copied().collect();
        tokens.sort_unstable();
        tokens.dedup();
        d_x.fill(0.0);
        for tokens in tokens.chunks(LARGE) {
            let (first, last) = (tokens[0], tokens[tokens.len() - 1]);
            let weight = self.linear.rows(tokens);
            let rows = d_x.par_chunks_exact_mut(hidden).zip(rows);
            let rows = rows.zip(d_logits.par_chunks_exact(vocab));
            rows.for_each(|((d_x, row), d_logits)| {
                let mine = row.large.iter().filter(|t| (first..=last).contains(*t));
                for token in mine {
                    let place = tokens.partition_point(|t| t < token) * hidden;
                    let d = d_logits[*token as usize];
                    let weight = &weight[place..place + hidden];
                    let both = d_x.iter_mut().zip(weight);
                    both.for_each(|(d_x, w)| *d_x += d * w);
                }
            });
        }
    }

    fn gather(&self, h: &[f32], rows: impl Iterator<Item = usize>, x: &mut [f32]) {
        let hidden = self.norm.len();
        for (x, row) in x.chunks_exact_mut(hidden).zip(rows) {
            math::rms_norm(&h[row * hidden..(row + 1) * hidden], self.norm, self.eps, x);
        }
    }

    fn block(&self) -> usize {
        let rows = LOGITS / self.linear.outputs;
        (rows / block_rows() * block_rows()).max(1)
    }
}

/// The loss of one row.
#[derive(Default)]
pub struct RowLoss {
    /// The nll of each target.
    pub nll: Vec<f32>,
    /// What matters at the row, if the row is watched.
    pub likely: Likely,
    /// The tokens whose gradients count, ascending, if the row is watched.
    large: Vec<u32>,
}

/// Turns one row's logits into the gradient of `Σ weight · nll`.
fn row_gradient(logits: &mut [f32], targets: &[Target], watched: bool) -> RowLoss {
    let named = || targets.iter().filter(|t| !t.is_others());
    let chosen: Vec<f32> = named().map(|t| logits[t.token as usize]).collect();
    let weight: f32 = targets.iter().map(|t| t.weight).sum();
    let top = math::max(logits);
    let sum = math::exp_sum(logits, 1.0, top);
    let mut row = RowLoss::default();
    if watched {
        let large = at_least(logits, Likely::LEAST_GRADIENT * sum).map(|(token, _)| token);
        row.large = large.chain(named().map(|t| t.token)).collect();
        row.large.sort_unstable();
        row.large.dedup();
        let matters = |token: &u32| {
            logits[*token as usize] >= Likely::LEAST * sum || named().any(|t| t.token == *token)
        };
        row.likely.tokens = row.large.iter().copied().filter(matters).collect();
        let held: f32 = row.likely.tokens.iter().map(|t| logits[*t as usize]).sum();
        row.likely.left_out = ((1.0 - held / sum).max(0.0) * 1e6) as u64;
        row.likely.rows = 1;
    }
    let mut nll = chosen.into_iter().map(|chosen| top + sum.ln() - chosen);
    if named().count() == targets.len() {
        math::scale(logits, weight / sum);
        for target in targets {
            logits[target.token as usize] -= target.weight;
        }
        row.nll = nll.collect();
        return row;
    }
    // The nll of the others is ln Σ exp − ln Σ exp over the others. Its gradient subtracts from each of them its
    // share of the others' sum. That sum is computed by itself: as a difference of sums it would be all rounding
    // where the others are unlikely.
    let mut taken: Vec<(usize, f32)> = Vec::with_capacity(targets.len());
    for target in named() {
        let token = target.token as usize;
        taken.push((token, std::mem::take(&mut logits[token])));
    }
    let others = targets.iter().filter(|t| t.is_others());
    let others: f32 = others.map(|t| t.weight).sum();
    let rest = math::sum(logits).max(f32::MIN_POSITIVE);
    math::scale(logits, weight / sum - others / rest);
    for (token, exp) in taken {
        logits[token] += exp * weight / sum;
    }
    for target in named() {
        logits[target.token as usize] -= target.weight;
    }
    let each = targets.iter().map(|t| match t.is_others() {
        true => sum.ln() - rest.ln(),
        false => nll.next().expect("one for each token named"),
    });
    row.nll = each.collect();
    row
}
