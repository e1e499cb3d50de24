//! Frozen weights in bf16, packed once into panels.

use half::bf16;
use rayon::prelude::*;

/// Outputs of a panel: two vectors.
pub(super) const PANEL: usize = 32;

/// Sixteen pairs of bf16 numbers: one 512-bit register. A pair is (k, k+1) of one output.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(in super::super) struct PairVector(pub(in super::super) [u32; 16]);

pub(in super::super) const ZERO: PairVector = PairVector([0; 16]);

/// A packed matrix `[outputs, inputs]`.
pub struct Panels {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// `[outputs / 32][inputs / 2][2]`
    pub(super) vectors: Vec<PairVector>,
}

impl Panels {
    /// Packs matrices `[n_i, inputs]`, stacked on top of each other.
    pub fn pack(parts: &[&[f32]], inputs: usize) -> Self {
        let rows: Vec<&[f32]> = parts.iter().flat_map(|p| p.chunks_exact(inputs)).collect();
        let mut panels = Self::zeros(rows.len(), inputs);
        let per_panel = panels.panel_vectors();
        let work = panels
            .vectors
            .par_chunks_mut(per_panel)
            .zip(rows.par_chunks(PANEL));
        work.for_each(|(vectors, rows)| {
            for (j, row) in rows.iter().enumerate() {
                for (k, values) in row.chunks(2).enumerate() {
                    let high = values.get(1).copied().unwrap_or(0.0);
                    vectors[2 * k + j / 16].0[j % 16] = pair(values[0], high);
                }
            }
        });
        panels
    }

    /// Row `n` of the matrix, as f32.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        let panel = &self.vectors[n / PANEL * self.panel_vectors()..];
        for (k, values) in out[..self.inputs].chunks_mut(2).enumerate() {
            let both = panel[2 * k + n % PANEL / 16].0[n % 16];
            values[0] = f32::from_bits(both << 16);
            if let Some(high) = values.get_mut(1) {
                *high = f32::from_bits(both & 0xffff_0000);
            }
        }
    }

    pub(super) fn zeros(outputs: usize, inputs: usize) -> Self {
        let vectors = outputs.div_ceil(PANEL) * inputs.div_ceil(2) * 2;
        Panels {
            outputs,
            inputs,
            vectors: vec![ZERO; vectors],
        }
    }

    /// Vectors of one panel.
    pub(super) fn panel_vectors(&self) -> usize {
        self.inputs.div_ceil(2) * 2
    }
}

/// Two numbers rounded to bf16, `low` in the lower half.
pub(in super::super) fn pair(low: f32, high: f32) -> u32 {
    u32::from(bf16::from_f32(low).to_bits()) | (u32::from(bf16::from_f32(high).to_bits()) << 16)
}
