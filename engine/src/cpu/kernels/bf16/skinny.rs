//! The skinny product: many rows, few outputs, such as the first of a LoRA pair's two products in training.
//!
//! Rows come packed in bf16, and a matrix is packed for one use. Serving, where matrices stay packed, has
//! `kernels/sgmv` instead.

use super::activations::{PackedRows, RowsPart};
use super::amx::Registers;
use super::pack::{LANES, pack_columns, pack_rows};
use super::panels::{PANEL, PairVector, ZERO};
use super::tile::{OutputTile, Tile};
use crate::cpu::kernels::{Init, SharedMut, has_amx_bf16, has_avx512_bf16};
use rayon::prelude::*;

/// A matrix of few outputs: `[outputs / 16][K / 2]` vectors; for AMX `[outputs / 32][K / 2][2]`, a tile's weights.
#[derive(Default)]
pub struct SkinnyMatrix {
    outputs: usize,
    pairs: usize,
    vectors: Vec<PairVector>,
}

/// Vectors that hold a pair of inputs.
fn halves() -> usize {
    if has_amx_bf16() { PANEL / LANES } else { 1 }
}

impl SkinnyMatrix {
    /// Packs `w[outputs, inputs]`.
    pub fn of_rows(w: &[f32], inputs: usize) -> Self {
        let mut matrix = SkinnyMatrix::zeros(w.len() / inputs, inputs);
        let halves = halves();
        let chunks = matrix.vectors.par_chunks_exact_mut(matrix.pairs * halves);
        let rows = w.par_chunks(halves * LANES * inputs);
        chunks.zip(rows).for_each(|(vectors, w)| {
            for (half, w) in w.chunks(LANES * inputs).enumerate() {
                pack_rows(w, inputs, 1.0, &mut vectors[half..], halves);
            }
        });
        matrix
    }

    /// Packs `scale · wᵀ` of `w[inputs, outputs]`.
    pub fn of_columns(w: &[f32], outputs: usize, scale: f32) -> Self {
        let mut matrix = SkinnyMatrix::zeros(outputs, w.len() / outputs);
        let halves = halves();
        let both = w.par_chunks(2 * outputs);
        let chunks = matrix.vectors.chunks_exact_mut(matrix.pairs * halves);
        for (first, vectors) in (0..outputs).step_by(halves * LANES).zip(chunks) {
            vectors
                .par_chunks_exact_mut(halves)
                .zip(both.clone())
                .with_min_len(256)
                .for_each(|(vectors, both)| {
                    let (low, high) = both.split_at(outputs);
                    let columns = (first..outputs).step_by(LANES);
                    for (first, vector) in columns.zip(vectors) {
                        let width = LANES.min(outputs - first);
                        let high = high.get(first..first + width).unwrap_or(&[]);
                        pack_columns(&low[first..first + width], high, scale, vector);
                    }
                });
        }
        matrix
    }

    fn zeros(outputs: usize, inputs: usize) -> Self {
        let (pairs, halves) = (inputs.div_ceil(2), halves());
        SkinnyMatrix {
            outputs,
            pairs,
            vectors: vec![ZERO; outputs.div_ceil(halves * LANES) * pairs * halves],
        }
    }
}

/// One matrix of a skinny product: it reads some columns of x and writes some columns of y.
pub struct Part {
    pub w: SkinnyMatrix,
    /// The first pair of x.
    pub from: usize,
    /// The first column of y.
    pub to: usize,
}

/// `y[T, width] = x · Wᵀ` in the columns of each part. `parts[a]` are the matrices of adapter a, and
/// `block_adapters[b]` is the adapter of row block b; the rows of a block without an adapter stay as they are.
pub fn multiply(
    x: &PackedRows,
    block_adapters: &[Option<usize>],
    parts: &[Vec<Part>],
    y: &mut [f32],
    width: usize,
) {
    let pairs = x.inputs.div_ceil(2);
    assert!(block_adapters.len() == x.blocks.len() && y.len() == x.rows * width);
    for part in parts.iter().flatten() {
        assert!(part.from + part.w.pairs <= pairs && part.to + part.w.outputs <= width);
    }
    let y = SharedMut::new(y);
    let blocks = x.blocks.par_iter().zip(block_adapters);
    blocks
        .enumerate()
        .with_min_len(2)
        .for_each(|(block, (&(row, rows), adapter))| {
            let Some(adapter) = adapter else { return };
            let mut registers = Registers::default();
            for Part { w, from, to } in &parts[*adapter] {
                let x = x.part(block, *from, w.pairs);
                let lanes = halves() * LANES;
                for (nth, vectors) in w.vectors.chunks_exact(w.pairs * halves()).enumerate() {
                    let (column, of) = (to + nth * lanes, lanes.min(w.outputs - nth * lanes));
                    let out = OutputTile {
                        y: y.at(row * width + column, (rows - 1) * width + of),
                        stride: width,
                        width: of,
                        init: Init::Zero,
                    };
                    // SAFETY: the tile is these rows of `of` outputs (checked by `at`), and blocks share no row.
                    unsafe { run(x, vectors, out, &mut registers) }
                }
            }
        });
}

/// Overwrites `out`, whatever its initial values.
///
/// # Safety
/// `out` must be valid for the rows, `stride` apart, and unshared.
unsafe fn run(x: RowsPart, vectors: &[PairVector], out: OutputTile, registers: &mut Registers) {
    if has_amx_bf16() {
        let weights = vectors;
        // SAFETY: the caller's promise.
        return unsafe { Tile { x, weights, out }.run(registers) };
    }
    let (x, rows) = (x.pairs, x.rows);
    assert_eq!(x.len(), rows * vectors.len());
    #[cfg(target_arch = "x86_64")]
    if has_avx512_bf16() {
        // SAFETY: the processor has the features; the rest is the caller's promise.
        return unsafe { x86::dispatch(x, rows, vectors, &out) };
    }
    for r in 0..rows {
        for c in 0..out.width {
            let mut sum = 0.0f32;
            for (k, vector) in vectors.iter().enumerate() {
                let (a, b) = (x[k * rows + r], vector.0[c]);
                sum += f32::from_bits(a << 16) * f32::from_bits(b << 16);
                sum += f32::from_bits(a & 0xffff_0000) * f32::from_bits(b & 0xffff_0000);
            }
            // SAFETY: inside the tile the caller vouches for.
            unsafe { *out.y.add(r * out.stride + c) = sum };
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{OutputTile, PairVector};
    use std::arch::x86_64::*;

    /// # Safety
    /// As [`super::run`]; the processor must have AVX512_BF16.
    pub unsafe fn dispatch(x: &[u32], rows: usize, vectors: &[PairVector], out: &OutputTile) {
        // SAFETY: handed on to the caller.
        unsafe {
            match rows {
                1 => run::<1>(x, vectors, out),
                2 => run::<2>(x, vectors, out),
                3 => run::<3>(x, vectors, out),
                4 => run::<4>(x, vectors, out),
                5 => run::<5>(x, vectors, out),
                6 => run::<6>(x, vectors, out),
                7 => run::<7>(x, vectors, out),
                8 => run::<8>(x, vectors, out),
                9 => run::<9>(x, vectors, out),
                10 => run::<10>(x, vectors, out),
                11 => run::<11>(x, vectors, out),
                12 => run::<12>(x, vectors, out),
                _ => unreachable!("a block has at most 12 rows"),
            }
        }
    }

    /// # Safety
    /// As [`dispatch`], for R rows.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn run<const R: usize>(x: &[u32], vectors: &[PairVector], out: &OutputTile) {
        let mut sums = [_mm512_setzero_ps(); R];
        for (x, vector) in x.chunks_exact(R).zip(vectors) {
            // SAFETY: vectors are aligned; the same bits.
            let w: __m512bh = unsafe {
                std::mem::transmute(_mm512_load_si512(std::ptr::from_ref(vector).cast()))
            };
            for (x, sum) in x.iter().zip(&mut sums) {
                // SAFETY: the same bits.
                let both: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(*x as i32)) };
                *sum = _mm512_dpbf16_ps(*sum, both, w);
            }
        }
        let mask = ((1u32 << out.width) - 1) as u16;
        for (r, sum) in sums.iter().enumerate() {
            // SAFETY: masked to the outputs the caller vouches for.
            unsafe { _mm512_mask_storeu_ps(out.y.wrapping_add(r * out.stride), mask, *sum) }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::row_blocks;
    use super::*;
    use crate::cpu::kernels::numbers;
    use half::bf16;

    pub fn round(x: f32) -> f64 {
        f64::from(bf16::from_f32(x).to_f32())
    }

    pub fn near(got: f32, want: f64, what: &str) {
        assert!(
            (f64::from(got) - want).abs() < 1e-4,
            "{what}: {got} for {want}"
        );
    }

    pub const ROWS: usize = 91;

    /// Rows of two adapters and of none, in blocks.
    pub fn row_blocks_of_adapters() -> (Vec<(usize, usize)>, Vec<Option<usize>>) {
        let parts = [(0..37, Some(1)), (37..42, None), (42..ROWS, Some(0))];
        let mut cut = (Vec::new(), Vec::new());
        for (rows, adapter) in parts {
            cut.0.extend(row_blocks(rows));
            cut.1.resize(cut.0.len(), adapter);
        }
        cut
    }

    pub fn adapter_of(row: usize) -> Option<usize> {
        match row {
            0..37 => Some(1),
            37..42 => None,
            _ => Some(0),
        }
    }

    #[test]
    fn products_agree_with_the_definition() {
        let (blocks, block_adapters) = row_blocks_of_adapters();
        for (rank, inputs) in [(1, 7), (16, 64), (5, 130), (40, 90)] {
            // Six columns of x that do not count, before those that do.
            let (all, first) = (inputs + 6, 6);
            let x = numbers(ROWS * all, 1);
            let mut packed = PackedRows::default();
            packed.pack_blocks(&x, all, &blocks);
            let rows: Vec<Vec<f32>> = (0..2).map(|s| numbers(rank * inputs, 2 + s)).collect();
            let transposed = |w: &Vec<f32>| -> Vec<f32> {
                let at = |i: usize| w[i % rank * inputs + i / rank];
                (0..rank * inputs).map(at).collect()
            };
            let part = |w| {
                vec![Part {
                    w,
                    from: first / 2,
                    to: 3,
                }]
            };
            let as_stored = rows.iter().map(|w| part(SkinnyMatrix::of_rows(w, inputs)));
            let half = |w| part(SkinnyMatrix::of_columns(&transposed(w), rank, 0.5));
            let halves = rows.iter().map(half).collect();
            for (parts, scale) in [(as_stored.collect::<Vec<_>>(), 1.0), (halves, 0.5)] {
                let width = rank + 5;
                let mut y = vec![9.0; ROWS * width];
                multiply(&packed, &block_adapters, &parts, &mut y, width);
                for (row, y) in y.chunks_exact(width).enumerate() {
                    let Some(adapter) = adapter_of(row) else {
                        assert!(y.iter().all(|y| *y == 9.0));
                        continue;
                    };
                    assert_eq!((y[2], y[rank + 3]), (9.0, 9.0));
                    let x = &x[row * all + first..];
                    for (r, w) in rows[adapter].chunks_exact(inputs).enumerate() {
                        let dot = w.iter().zip(x).map(|(w, x)| round(*w) * round(*x));
                        let want = scale * dot.sum::<f64>();
                        near(y[3 + r], want, &format!("rank {rank}, {inputs} inputs"));
                    }
                }
            }
        }
    }
}
