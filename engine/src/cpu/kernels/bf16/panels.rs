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
