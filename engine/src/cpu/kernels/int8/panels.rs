//! Weights of eight bits, packed: `q · scale + zero`, with a scale and a zero for every group of 32 along
//! K. Blocks of quantised files that are such steps themselves (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K)
//! are recognised and lose nothing; others are rounded to 255 steps.

use rayon::prelude::*;

pub const PANEL: usize = 32;
/// Weights along K that share a scale and a zero.
pub const GROUP: usize = 32;

/// Packed weights.
pub struct Panels {
    pub outputs: usize,
    pub inputs: usize,
    /// `[outputs / 32][inputs][32]`
    pub values: Vec<i8>,
    pub steps: Steps,
}

/// The scale and zero of every group.
pub enum Steps {
    /// `[outputs / 32][inputs / 32][scale, zero][32]`: a group lies along the inputs.
    Inputs(Vec<f32>),
    /// `[outputs / 32][inputs][scale, zero]`: a group lies along the outputs and is a panel's row (the
    /// transposed matrix).
    Outputs(Vec<f32>),
}

impl Panels {
    /// Rounds and packs matrices `[n_i, inputs]` stacked on top of each other.
    pub fn pack(parts: &[&[f32]], inputs: usize) -> Self {
        let rows: Vec<&[f32]> = parts.iter().flat_map(|p| p.chunks_exact(inputs)).collect();
        let (panels, groups) = (rows.len().div_ceil(PANEL), inputs.div_ceil(GROUP));
        let mut values = vec![0i8; panels * inputs * PANEL];
        let mut steps = vec![0.0f32; panels * groups * 2 * PANEL];
        values
            .par_chunks_mut(inputs * PANEL)
            .zip(steps.par_chunks_mut(groups * 2 * PANEL))
            .zip(rows.par_chunks(PANEL))
            .for_each(|((values, steps), rows)| {
                for (j, row) in rows.iter().enumerate() {
                    for (g, group) in row.chunks(GROUP).enumerate() {
                        let (least, scale) = fit(group);
                        steps[g * 2 * PANEL + j] = scale;
                        steps[(g * 2 + 1) * PANEL + j] = least + 128.0 * scale;
                        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                        for (k, value) in group.iter().enumerate() {
                            let at = (g * GROUP + k) * PANEL + j;
                            let step = ((value - least) * inverse).round();
                            values[at] = (step - 128.0) as i8;
                        }
                    }
                }
            });
        Panels {
            outputs: rows.len(),
            inputs,
            values,
            steps: Steps::Inputs(steps),
        }
    }

    /// The same matrix, packed for the product with its transpose: the same integers and scales.
    pub fn transpose(&self) -> Self {
        let Steps::Inputs(steps) = &self.steps else {
            unreachable!("only what was packed is transposed");
        };
        let (outputs, inputs) = (self.inputs, self.outputs);
        let groups = self.inputs.div_ceil(GROUP);
        let mut values = vec![0i8; outputs.div_ceil(PANEL) * inputs * PANEL];
        let mut turned = vec![0.0f32; outputs.div_ceil(PANEL) * inputs * 2];
        values
            .par_chunks_mut(inputs * PANEL)
            .zip(turned.par_chunks_mut(inputs * 2))
            .enumerate()
            .for_each(|(p, (values, turned))| {
                let mine = p * PANEL..(p * PANEL + PANEL).min(outputs);
                for n in 0..inputs {
                    let (old, lane) = (n / PANEL, n % PANEL);
                    let group = (old * groups + p) * 2;
                    turned[2 * n] = steps[group * PANEL + lane];
                    turned[2 * n + 1] = steps[(group + 1) * PANEL + lane];
                    for (j, k) in mine.clone().enumerate() {
                        let at = (old * self.inputs + k) * PANEL + lane;
                        values[n * PANEL + j] = self.values[at];
                    }
                }
            });
        Panels {
            outputs,
            inputs,
            values,
            steps: Steps::Outputs(turned),
        }
    }

    /// Row `n` of the matrix, widened.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        let (panel, lane) = (n / PANEL, n % PANEL);
        let values = &self.values[panel * self.inputs * PANEL..];
        for (k, out) in out[..self.inputs].iter_mut().enumerate() {
            let (scale, zero) = match &self.steps {
                Steps::Inputs(s) => {
                    let group = (panel * self.inputs.div_ceil(GROUP) + k / GROUP) * 2;
                    (s[group * PANEL + lane], s[(group + 1) * PANEL + lane])
                }
                Steps::Outputs(s) => {
                    let at = (panel * self.inputs + k) * 2;
                    (s[at], s[at + 1])
                }
            };
            *out = f32::from(values[k * PANEL + lane]).mul_add(scale, zero);
        }
    }
}

/// A step that represents the group, and the value at its step 0: the group's own, where its values are
/// at most 256 even steps, else a 255th of their range.
fn fit(group: &[f32]) -> (f32, f32) {
    let mut sorted = [f32::INFINITY; GROUP];
    sorted[..group.len()].copy_from_slice(group);
    let sorted = &mut sorted[..group.len()];
    sorted.sort_unstable_by(f32::total_cmp);
    let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
    let coarse = (most - least) / 255.0;
    // Values that are the same but for rounding make no step.
    let gaps = sorted.windows(2).map(|pair| pair[1] - pair[0]);
    let gaps = gaps.filter(|gap| *gap > coarse / 2.0);
    let gap = gaps.fold(most - least, f32::min);
    if gap <= 0.0 {
        return (least, 0.0);
    }
    let own = (most - least) / ((most - least) / gap).round();
    // Q8_0's step: all its values may lie further apart.
    let eighth_bit = most.abs().max(least.abs()) / 127.0;
    [(least, own), (-128.0 * eighth_bit, eighth_bit)]
        .into_iter()
        .find(|(first, step)| {
            let at = |x: f32| (x - first) / step;
            at(most) < 255.5
                && sorted
                    .iter()
                    .all(|x| (at(*x) - at(*x).round()).abs() < 0.01)
        })
        .unwrap_or((least, coarse))
}

/// The whole matrix, widened.
#[cfg(test)]
pub fn matrix(panels: &Panels) -> Vec<f32> {
    let mut rows = vec![0.0; panels.outputs * panels.inputs];
    for (n, row) in rows.chunks_exact_mut(panels.inputs).enumerate() {
        panels.row(n, row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::numbers;

    /// What the blocks of quantised files hold comes back as it was.
    #[test]
    fn even_steps_are_kept() {
        let (n, k) = (40, 96);
        let random = numbers(n * k, 5);
        let step = |i: usize| random[i / GROUP] * 0.01;
        let mut cases: Vec<Vec<f32>> = Vec::new();
        for levels in [1.0, 2.0, 16.0, 32.0] {
            let q = |i: usize| ((random[i] + 0.5) * levels).floor();
            let zero = |i: usize| random[i / GROUP + 7] * 0.3;
            cases.push((0..n * k).map(|i| q(i) * step(i) + zero(i)).collect());
        }
        let q8_0 = |i: usize| match i % GROUP {
            0 => -127.0 * step(i),
            _ => (random[i] * 254.0).round() * step(i),
        };
        cases.push((0..n * k).map(q8_0).collect());
        for (case, w) in cases.iter().enumerate() {
            for (a, b) in w.iter().zip(matrix(&Panels::pack(&[w], k))) {
                assert!((a - b).abs() < 1e-6, "case {case}: {a} became {b}");
            }
        }
    }

    #[test]
    fn other_values_are_rounded_to_a_step() {
        let (n, k) = (40, 96);
        let random = numbers(n * k, 5);
        let again = matrix(&Panels::pack(&[&random], k));
        for (group, again) in random.chunks(GROUP).zip(again.chunks(GROUP)) {
            let most = group.iter().copied().fold(f32::MIN, f32::max);
            let least = group.iter().copied().fold(f32::MAX, f32::min);
            for (a, b) in group.iter().zip(again) {
                assert!((a - b).abs() <= (most - least) / 509.0, "{a} became {b}");
            }
        }
    }
}
