//! Frozen weights in bf16, packed once into panels.

use half::bf16;
use rayon::prelude::*;

/// Outputs of a panel: two registers.
pub(super) const PANEL: usize = 32;

/// Sixteen pairs: one register.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(in super::super) struct Line(pub(in super::super) [u32; 16]);

pub(in super::super) const ZERO: Line = Line([0; 16]);

/// Packed weights.
pub struct Panels {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) lines: Vec<Line>,
}

impl Panels {
    /// Packs matrices `[n_i, inputs]` stacked on top of each other.
    pub fn pack(parts: &[&[f32]], inputs: usize) -> Self {
        let rows: Vec<&[f32]> = parts.iter().flat_map(|p| p.chunks_exact(inputs)).collect();
        let mut panels = Self::zeros(rows.len(), inputs);
        let per_panel = panels.panel_lines();
        let work = panels
            .lines
            .par_chunks_mut(per_panel)
            .zip(rows.par_chunks(PANEL));
        work.for_each(|(lines, rows)| {
            for (j, row) in rows.iter().enumerate() {
                for (k, values) in row.chunks(2).enumerate() {
                    let high = values.get(1).copied().unwrap_or(0.0);
                    lines[2 * k + j / 16].0[j % 16] = pair(values[0], high);
                }
            }
        });
        panels
    }

    /// The same matrix, packed for the product with its transpose.
    pub fn transpose(&self) -> Self {
        let mut turned = Self::zeros(self.inputs, self.outputs);
        let (from, to) = (self.panel_lines(), turned.panel_lines());
        turned
            .lines
            .par_chunks_mut(to)
            .enumerate()
            .for_each(|(p, lines)| {
                // 32 new outputs are 16 pairs of the old inputs: 32 lines of every old panel.
                for (old, panel) in self.lines.chunks_exact(from).enumerate() {
                    let source = &panel[PANEL * p..(PANEL * p + PANEL).min(from)];
                    let target = &mut lines[PANEL * old..(PANEL * old + PANEL).min(to)];
                    for (i, line) in target.iter_mut().enumerate() {
                        // Line i holds new inputs 2·(i/2), +1 (old outputs) for 16 new outputs.
                        let (n, first) = (i / 2 * 2, i % 2 * 16);
                        for (lane, value) in line.0.iter_mut().enumerate() {
                            let k = first + lane;
                            if let Some(low) = source.get(k / 2 * 2 + n / 16) {
                                let high = &source[k / 2 * 2 + (n + 1) / 16];
                                let shift = 16 * (k % 2);
                                let low = (low.0[n % 16] >> shift) & 0xffff;
                                let high = (high.0[(n + 1) % 16] >> shift) & 0xffff;
                                *value = low | (high << 16);
                            }
                        }
                    }
                }
            });
        turned
    }

    /// Row `n` of the matrix, widened.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        let panel = &self.lines[n / PANEL * self.panel_lines()..];
        for (k, values) in out[..self.inputs].chunks_mut(2).enumerate() {
            let both = panel[2 * k + n % PANEL / 16].0[n % 16];
            values[0] = f32::from_bits(both << 16);
            if let Some(high) = values.get_mut(1) {
                *high = f32::from_bits(both & 0xffff_0000);
            }
        }
    }

    pub(super) fn zeros(outputs: usize, inputs: usize) -> Self {
        let lines = outputs.div_ceil(PANEL) * inputs.div_ceil(2) * 2;
        Panels {
            outputs,
            inputs,
            lines: vec![ZERO; lines],
        }
    }

    pub(super) fn panel_lines(&self) -> usize {
        self.inputs.div_ceil(2) * 2
    }
}

pub(in super::super) fn pair(low: f32, high: f32) -> u32 {
    u32::from(bf16::from_f32(low).to_bits()) | (u32::from(bf16::from_f32(high).to_bits()) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::numbers;

    fn round(x: f32) -> f64 {
        f64::from(bf16::from_f32(x).to_f32())
    }

    #[test]
    fn transposing_keeps_every_element() {
        for (n, k) in [(5, 7), (64, 32), (70, 33), (33, 130)] {
            let w = numbers(n * k, 4);
            let turned = Panels::pack(&[&w], k).transpose();
            let mut row = vec![0.0; n];
            for i in 0..k {
                turned.row(i, &mut row);
                for (o, value) in row.iter().enumerate() {
                    assert_eq!(f64::from(*value), round(w[o * k + i]), "{n}x{k} at {o},{i}");
                }
            }
        }
    }
}
