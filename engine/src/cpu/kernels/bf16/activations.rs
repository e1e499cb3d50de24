//! Activations in bf16, packed for every product into blocks of rows: `[rows/12][K/2][12][2]`.

use super::panels::pair;
use crate::cpu::kernels::has_avx512_bf16;
use rayon::prelude::*;
use std::ops::Range;

/// Most rows of a block, hence of a tile.
pub(super) const BLOCK_ROWS: usize = 12;

/// Packed activations. The buffer is reused from call to call.
#[derive(Default)]
pub struct PackedRows {
    pub(super) rows: usize,
    pub(super) inputs: usize,
    /// (first row, rows) of every block.
    pub(super) blocks: Vec<(usize, usize)>,
    /// Block by block `[K/2][rows]`; a pair holds two neighbouring columns of one row.
    pub(super) pairs: Vec<u32>,
}

impl PackedRows {
    /// Rounds `x[rows, inputs]` to bf16 and packs it.
    pub fn pack(&mut self, x: &[f32], inputs: usize) {
        let blocks: Vec<_> = row_blocks(0..x.len() / inputs).collect();
        self.pack_blocks(x, inputs, &blocks);
    }

    /// [`PackedRows::pack`] into blocks that the caller has cut ([`row_blocks`]).
    ///
    /// # Panics
    /// If the blocks do not hold every row once, in order, at most 12 each.
    pub fn pack_blocks(&mut self, x: &[f32], inputs: usize, blocks: &[(usize, usize)]) {
        let (rows, pairs) = (x.len() / inputs, inputs.div_ceil(2));
        let mut end = 0;
        for (first, count) in blocks {
            assert!(*first == end && (1..=BLOCK_ROWS).contains(count));
            end += count;
        }
        assert_eq!(end, rows);
        (self.rows, self.inputs) = (rows, inputs);
        self.blocks.clear();
        self.blocks.extend_from_slice(blocks);
        if self.pairs.len() < rows * pairs {
            self.pairs.resize(rows * pairs, 0);
        }
        let mut tasks = Vec::with_capacity(rows.div_ceil(BLOCK_ROWS));
        let mut rest = &mut self.pairs[..rows * pairs];
        for &(start, count) in blocks {
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

/// (first row, rows) of each block. The blocks are as few and as even as possible; none is empty.
pub fn row_blocks(rows: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let (first, rows) = (rows.start, rows.len());
    let count = rows.div_ceil(BLOCK_ROWS);
    // Without rows there is no block, and the divisor does not matter.
    let (size, larger) = (rows / count.max(1), rows % count.max(1));
    let start = move |b| first + b * size + larger.min(b);
    (0..count).map(move |b| (start(b), size + usize::from(b < larger)))
}

fn pack_block(x: &[f32], inputs: usize, rows: usize, out: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if has_avx512_bf16() {
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
pub(super) mod x86 {
    use super::pair;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub fn pack_block(x: &[f32], inputs: usize, rows: usize, out: &mut [u32]) {
        assert!(x.len() == rows * inputs && out.len() == rows * inputs.div_ceil(2));
        let whole = inputs / 32 * 32;
        let mask = (1u16 << rows) - 1;
        for k in (0..whole).step_by(32) {
            let mut pairs = [_mm512_setzero_si512(); 16];
            for (r, pairs) in pairs[..rows].iter_mut().enumerate() {
                let from = &x[r * inputs + k..r * inputs + k + 32];
                // SAFETY: `from` has 32 elements; the same bits.
                *pairs = unsafe {
                    let low = _mm512_loadu_ps(from.as_ptr());
                    let high = _mm512_loadu_ps(from.as_ptr().add(16));
                    std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
                };
            }
            let target = &mut out[k / 2 * rows..(k / 2 + 16) * rows];
            let columns = target.chunks_exact_mut(rows).zip(transpose_16x16(&pairs));
            for (target, column) in columns {
                // SAFETY: masked to the rows that the target has.
                unsafe { _mm512_mask_storeu_epi32(target.as_mut_ptr().cast(), mask, column) }
            }
        }
        for k in (whole..inputs).step_by(2) {
            for r in 0..rows {
                let row = &x[r * inputs..(r + 1) * inputs];
                out[k / 2 * rows + r] = pair(row[k], row.get(k + 1).copied().unwrap_or(0.0));
            }
        }
    }

    /// Transposes sixteen rows of sixteen pairs: by two rows, by four, then by quarters of the registers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub fn transpose_16x16(rows: &[__m512i; 16]) -> [__m512i; 16] {
        let (mut by_two, mut by_four, mut columns) = (*rows, *rows, *rows);
        for i in (0..16).step_by(2) {
            by_two[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
            by_two[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
        }
        for i in (0..16).step_by(4) {
            for half in 0..2 {
                let (a, b) = (by_two[i + half], by_two[i + half + 2]);
                by_four[i + 2 * half] = _mm512_unpacklo_epi64(a, b);
                by_four[i + 2 * half + 1] = _mm512_unpackhi_epi64(a, b);
            }
        }
        // A quarter q of by_four[4 i + c] is column 4 q + c of the rows from 4 i on.
        const EVEN: i32 = 0x88;
        const ODD: i32 = 0xdd;
        for c in 0..4 {
            let [a, b, d, e] = [0, 4, 8, 12].map(|i| by_four[i + c]);
            let (even, even_below) = (
                _mm512_shuffle_i32x4::<EVEN>(a, b),
                _mm512_shuffle_i32x4::<EVEN>(d, e),
            );
            let (odd, odd_below) = (
                _mm512_shuffle_i32x4::<ODD>(a, b),
                _mm512_shuffle_i32x4::<ODD>(d, e),
            );
            columns[c] = _mm512_shuffle_i32x4::<EVEN>(even, even_below);
            columns[4 + c] = _mm512_shuffle_i32x4::<EVEN>(odd, odd_below);
            columns[8 + c] = _mm512_shuffle_i32x4::<ODD>(even, even_below);
            columns[12 + c] = _mm512_shuffle_i32x4::<ODD>(odd, odd_below);
        }
        columns
    }
}
