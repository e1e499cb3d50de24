//! Activations in bf16, packed for every product into blocks of rows.

use super::available;
use super::panels::pair;
use rayon::prelude::*;

/// Rows of a tile at most.
pub(super) const BLOCK_ROWS: usize = 12;

/// Packed activations, a buffer to be reused.
#[derive(Default)]
pub struct Rows {
    pub(super) rows: usize,
    pub(super) inputs: usize,
    pub(super) pairs: Vec<u32>,
}

impl Rows {
    /// Rounds `x[rows, inputs]` to bf16 and packs it.
    pub fn pack(&mut self, x: &[f32], inputs: usize) {
        let (rows, pairs) = (x.len() / inputs, inputs.div_ceil(2));
        (self.rows, self.inputs) = (rows, inputs);
        if self.pairs.len() < rows * pairs {
            self.pairs.resize(rows * pairs, 0);
        }
        let mut tasks = Vec::with_capacity(rows.div_ceil(BLOCK_ROWS));
        let mut rest = &mut self.pairs[..rows * pairs];
        for (start, count) in blocks(rows) {
            let (block, tail) = rest.split_at_mut(count * pairs);
            rest = tail;
            tasks.push((&x[start * inputs..(start + count) * inputs], block, count));
        }
        if rows * inputs < 1 << 14 {
            tasks
                .into_iter()
                .for_each(|(x, out, n)| pack_block(x, inputs, n, out));
        } else {
            tasks
                .into_par_iter()
                .for_each(|(x, out, n)| pack_block(x, inputs, n, out));
        }
    }
}

/// (first row, rows) of each block: as few blocks as possible, as even as possible, none empty.
pub(super) fn blocks(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(BLOCK_ROWS);
    // Without rows there is no block, and the divisor does not matter.
    let (size, larger) = (rows / count.max(1), rows % count.max(1));
    (0..count).map(move |b| (b * size + b.min(larger), size + usize::from(b < larger)))
}

fn pack_block(x: &[f32], inputs: usize, rows: usize, out: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if available() {
        // SAFETY: the processor has the features.
        return unsafe { x86::pack_block(x, inputs, rows, out) };
    }
    for (r, row) in x.chunks_exact(inputs).enumerate() {
        for (k, values) in row.chunks(2).enumerate() {
            out[k * rows + r] = pair(values[0], values.get(1).copied().unwrap_or(0.0));
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK_ROWS, pair};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub fn pack_block(x: &[f32], inputs: usize, rows: usize, out: &mut [u32]) {
        assert!(x.len() == rows * inputs && out.len() == rows * inputs.div_ceil(2));
        let whole = inputs / 32 * 32;
        let mut buffer = [[0u32; 16]; BLOCK_ROWS];
        for k in (0..whole).step_by(32) {
            for (r, line) in buffer[..rows].iter_mut().enumerate() {
                let from = &x[r * inputs + k..r * inputs + k + 32];
                // SAFETY: `from` has 32 elements, `line` room for 32 bf16.
                unsafe {
                    let low = _mm512_loadu_ps(from.as_ptr());
                    let high = _mm512_loadu_ps(from.as_ptr().add(16));
                    let both = _mm512_cvtne2ps_pbh(high, low);
                    _mm512_storeu_si512(
                        line.as_mut_ptr().cast(),
                        std::mem::transmute::<__m512bh, __m512i>(both),
                    );
                }
            }
            let target = &mut out[k / 2 * rows..(k / 2 + 16) * rows];
            for (j, group) in target.chunks_exact_mut(rows).enumerate() {
                for (value, line) in group.iter_mut().zip(&buffer) {
                    *value = line[j];
                }
            }
        }
        for k in (whole..inputs).step_by(2) {
            for r in 0..rows {
                let row = &x[r * inputs..(r + 1) * inputs];
                out[k / 2 * rows + r] = pair(row[k], row.get(k + 1).copied().unwrap_or(0.0));
            }
        }
    }
}
