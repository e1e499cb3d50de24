//! Activations in bf16, packed for every product, and cut into blocks of rows.
//!
//! For `vdpbf16ps` a block is `[K/2][rows][2]` with at most 12 rows, so that its broadcasts read one stream. For AMX
//! it is `[K/32][rows, rounded up to 16][16][2]` with at most 32 rows: tile registers, one after another.

use super::panels::pair;
use crate::cpu::kernels::{has_amx_bf16, has_avx512_bf16};
use rayon::prelude::*;
use std::ops::Range;

/// Rows of a tile register of AMX.
pub(super) const ROWS: usize = 16;
/// Pairs of a row of a tile register: one step along K.
pub(super) const STEP: usize = 16;

/// Most rows of a block, hence of a tile.
pub fn block_rows() -> usize {
    if has_amx_bf16() { 2 * ROWS } else { 12 }
}

/// Most rows of a batch that is kept in f32, too.
pub(super) const FEW_ROWS: usize = 4;

/// Some pairs of one block of rows.
#[derive(Clone, Copy)]
pub(super) struct RowsPart<'a> {
    pub rows: usize,
    /// The first pair along K, and their number.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub first: usize,
    pub length: usize,
    /// `[length][rows]`; for AMX the whole block.
    pub pairs: &'a [u32],
}

/// Packed activations. The buffer is reused from call to call.
#[derive(Default)]
pub struct PackedRows {
    pub(super) rows: usize,
    pub(super) inputs: usize,
    /// (first row, rows) of every block.
    pub(super) blocks: Vec<(usize, usize)>,
    /// Block by block; a pair holds two neighbouring columns of one row.
    pairs: Vec<u32>,
    /// Where each block begins in `pairs`, and the end.
    starts: Vec<usize>,
    /// `[K][rows]`, the rounded numbers of one block of at most [`FEW_ROWS`] rows. For AMX only.
    floats: Vec<f32>,
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
    /// If the blocks do not hold every row once, in order, or if one is too large for a tile.
    pub fn pack_blocks(&mut self, x: &[f32], inputs: usize, blocks: &[(usize, usize)]) {
        let (rows, pairs) = (x.len() / inputs, inputs.div_ceil(2));
        let mut end = 0;
        for (first, count) in blocks {
            assert!(*first == end && (1..=block_rows()).contains(count));
            end += count;
        }
        assert_eq!(end, rows);
        (self.rows, self.inputs) = (rows, inputs);
        self.blocks.clear();
        self.blocks.extend_from_slice(blocks);
        self.starts.clear();
        self.starts.push(0);
        let mut end = 0;
        for (_, rows) in blocks {
            end += block_pairs(*rows, pairs);
            self.starts.push(end);
        }
        if self.pairs.len() < end {
            self.pairs.resize(end, 0);
        }
        let mut tasks = Vec::with_capacity(blocks.len());
        let mut rest = &mut self.pairs[..end];
        for &(start, count) in blocks {
            let (block, tail) = rest.split_at_mut(block_pairs(count, pairs));
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
        self.keep_floats();
    }

    /// `length` pairs of a block, from pair `first` on.
    pub(super) fn part(&self, block: usize, first: usize, length: usize) -> RowsPart<'_> {
        let rows = self.blocks[block].1;
        let pairs = &self.pairs[self.starts[block]..self.starts[block + 1]];
        RowsPart {
            rows,
            first,
            length,
            pairs: match has_amx_bf16() {
                true => pairs,
                false => &pairs[first * rows..(first + length) * rows],
            },
        }
    }

    /// Bytes of some blocks.
    pub(super) fn bytes(&self, blocks: Range<usize>) -> usize {
        size_of::<u32>() * (self.starts[blocks.end] - self.starts[blocks.start])
    }

    /// `[2 length][rows]`: the only block in f32, from pair `first` on, where its rows are so few that they are kept.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn floats(&self, first: usize, length: usize) -> Option<&[f32]> {
        let rows = self.rows;
        (!self.floats.is_empty())
            .then(|| &self.floats[2 * first * rows..2 * (first + length) * rows])
    }

    fn keep_floats(&mut self) {
        self.floats.clear();
        if !has_amx_bf16() || self.rows > FEW_ROWS || self.blocks.len() != 1 {
            return;
        }
        let rows = self.rows;
        self.floats.resize(2 * self.inputs.div_ceil(2) * rows, 0.0);
        for (k, floats) in self.floats.chunks_exact_mut(2 * rows).enumerate() {
            let step = &self.pairs[k / STEP * ROWS * STEP + k % STEP..];
            for r in 0..rows {
                let both = step[r * STEP];
                // AMX takes a number that is too small for a normal one as 0.
                let normal = |bits: u32| match bits & 0x7f80_0000 {
                    0 => 0.0,
                    _ => f32::from_bits(bits),
                };
                floats[r] = normal(both << 16);
                floats[rows + r] = normal(both & 0xffff_0000);
            }
        }
    }
}

/// Pairs that a block takes in the buffer. With AMX a block is padded to whole tile registers. The padding rows hold
/// anything; the padding columns are 0.
fn block_pairs(rows: usize, pairs: usize) -> usize {
    match has_amx_bf16() {
        true => rows.next_multiple_of(ROWS) * pairs.next_multiple_of(STEP),
        false => rows * pairs,
    }
}

/// (first row, rows) of each block. The blocks are as few and as even as possible, with AMX in whole tile registers;
/// none is empty.
pub fn row_blocks(rows: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let unit = if has_amx_bf16() { ROWS } else { 1 };
    let units = rows.len().div_ceil(unit);
    let count = units.div_ceil(block_rows() / unit);
    // Without rows there is no block, and the divisor does not matter.
    let (size, larger) = (units / count.max(1), units % count.max(1));
    let start = move |b| (rows.start + (b * size + larger.min(b)) * unit).min(rows.end);
    (0..count).map(move |b| (start(b), start(b + 1) - start(b)))
}

fn pack_block(x: &[f32], inputs: usize, rows: usize, out: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if has_amx_bf16() {
        let of_rows = x.chunks_exact(inputs).enumerate();
        // SAFETY: the processor has the features.
        return of_rows.for_each(|(r, x)| unsafe { x86::pack_row(x, r, rows, out) });
    }
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
    use super::{ROWS, STEP, pair};
    use std::arch::x86_64::*;

    /// Row `r` of a block of tile registers.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub fn pack_row(x: &[f32], r: usize, rows: usize, out: &mut [u32]) {
        let steps = out.chunks_exact_mut(rows.next_multiple_of(ROWS) * STEP);
        for (x, out) in x.chunks(2 * STEP).zip(steps) {
            let out = &mut out[r * STEP..(r + 1) * STEP];
            let masks =
                [x.len().min(16), x.len().saturating_sub(16)].map(|n| ((1u32 << n) - 1) as u16);
            // SAFETY: masked to the numbers that x has; they become at most sixteen pairs.
            unsafe {
                let low = _mm512_maskz_loadu_ps(masks[0], x.as_ptr());
                let high = _mm512_maskz_loadu_ps(masks[1], x.as_ptr().wrapping_add(16));
                let pairs =
                    std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                _mm512_storeu_si512(out.as_mut_ptr().cast(), pairs);
            }
        }
    }

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
