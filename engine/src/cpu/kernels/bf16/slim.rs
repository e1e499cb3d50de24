//! A product of few outputs, such as the first of an adapter's two in training. Unlike `kernels/narrow`, which serves, it
//! takes rows that are packed in bf16 already, and matrices that are used once.

use super::lines::{WIDE, columns_to_line, rows_to_lines};
use super::panels::{Line, ZERO};
use super::rows::Rows;
use super::tile::Place;
use crate::cpu::kernels::{Shared, Start, has_avx512_bf16};
use rayon::prelude::*;

/// A matrix of few outputs: `[outputs / 16][K / 2]` lines.
#[derive(Default)]
pub struct Slim {
    outputs: usize,
    pairs: usize,
    lines: Vec<Line>,
}

impl Slim {
    /// Of `w[outputs, inputs]`.
    pub fn of_rows(w: &[f32], inputs: usize) -> Self {
        let (outputs, pairs) = (w.len() / inputs, inputs.div_ceil(2));
        let mut lines = vec![ZERO; outputs.div_ceil(WIDE) * pairs];
        let stretches = lines.par_chunks_exact_mut(pairs);
        let rows = w.par_chunks(WIDE * inputs);
        stretches
            .zip(rows)
            .for_each(|(lines, w)| rows_to_lines(w, inputs, 1.0, lines, 1));
        Slim {
            outputs,
            pairs,
            lines,
        }
    }

    /// Of `scale · wᵀ` for `w[inputs, outputs]`.
    pub fn of_columns(w: &[f32], outputs: usize, scale: f32) -> Self {
        let pairs = (w.len() / outputs).div_ceil(2);
        let mut lines = vec![ZERO; outputs.div_ceil(WIDE) * pairs];
        let both = w.par_chunks(2 * outputs);
        let columns = (0..outputs)
            .step_by(WIDE)
            .zip(lines.chunks_exact_mut(pairs));
        for (first, lines) in columns {
            lines
                .par_iter_mut()
                .zip(both.clone())
                .with_min_len(256)
                .for_each(|(line, both)| {
                    let (low, high) = both.split_at(outputs);
                    let width = WIDE.min(outputs - first);
                    let high = high.get(first..first + width).unwrap_or(&[]);
                    columns_to_line(&low[first..first + width], high, scale, line);
                });
        }
        Slim {
            outputs,
            pairs,
            lines,
        }
    }
}

/// A narrow product of some of x's columns, in some of y's.
pub struct Part {
    pub w: Slim,
    /// The first pair of x.
    pub from: usize,
    /// The first column of y.
    pub to: usize,
}

/// `y[T, width] = x · Wᵀ` in the columns of each part, for the rows of the blocks that have parts.
/// `owners[block]` says which of `parts` those are.
pub fn multiply(
    x: &Rows,
    owners: &[Option<usize>],
    parts: &[Vec<Part>],
    y: &mut [f32],
    width: usize,
) {
    let pairs = x.inputs.div_ceil(2);
    assert!(owners.len() == x.blocks.len() && y.len() == x.rows * width);
    for part in parts.iter().flatten() {
        assert!(part.from + part.w.pairs <= pairs && part.to + part.w.outputs <= width);
    }
    let y = Shared::new(y);
    let blocks = x.blocks.par_iter().zip(owners);
    blocks.with_min_len(2).for_each(|(&(row, rows), owner)| {
        let Some(owner) = owner else { return };
        for Part { w, from, to } in &parts[*owner] {
            let first = row * pairs + from * rows;
            let x = &x.pairs[first..first + w.pairs * rows];
            for (nth, lines) in w.lines.chunks_exact(w.pairs).enumerate() {
                let (column, of) = (to + nth * WIDE, WIDE.min(w.outputs - nth * WIDE));
                let place = Place {
                    y: y.at(row * width + column, (rows - 1) * width + of),
                    stride: width,
                    width: of,
                    start: Start::Zero,
                };
                // SAFETY: the place is these rows of `of` outputs (checked by `at`), and blocks share no row.
                unsafe { run(x, rows, lines, &place) }
            }
        }
    });
}

/// Sets the place, whatever its start.
///
/// # Safety
/// The place must be valid for the rows, `stride` apart, and unshared.
unsafe fn run(x: &[u32], rows: usize, lines: &[Line], place: &Place) {
    assert_eq!(x.len(), rows * lines.len());
    #[cfg(target_arch = "x86_64")]
    if has_avx512_bf16() {
        // SAFETY: the processor has the features; the rest is the caller's promise.
        return unsafe { x86::dispatch(x, rows, lines, place) };
    }
    for r in 0..rows {
        for c in 0..place.width {
            let mut sum = 0.0f32;
            for (k, line) in lines.iter().enumerate() {
                let (a, b) = (x[k * rows + r], line.0[c]);
                sum += f32::from_bits(a << 16) * f32::from_bits(b << 16);
                sum += f32::from_bits(a & 0xffff_0000) * f32::from_bits(b & 0xffff_0000);
            }
            // SAFETY: inside the place the caller vouches for.
            unsafe { *place.y.add(r * place.stride + c) = sum };
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Line, Place};
    use std::arch::x86_64::*;

    /// # Safety
    /// As [`super::run`]; the processor must have AVX512_BF16.
    pub unsafe fn dispatch(x: &[u32], rows: usize, lines: &[Line], place: &Place) {
        // SAFETY: handed on to the caller.
        unsafe {
            match rows {
                1 => run::<1>(x, lines, place),
                2 => run::<2>(x, lines, place),
                3 => run::<3>(x, lines, place),
                4 => run::<4>(x, lines, place),
                5 => run::<5>(x, lines, place),
                6 => run::<6>(x, lines, place),
                7 => run::<7>(x, lines, place),
                8 => run::<8>(x, lines, place),
                9 => run::<9>(x, lines, place),
                10 => run::<10>(x, lines, place),
                11 => run::<11>(x, lines, place),
                12 => run::<12>(x, lines, place),
                _ => unreachable!("a block has at most 12 rows"),
            }
        }
    }

    /// # Safety
    /// As [`dispatch`], for R rows.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn run<const R: usize>(x: &[u32], lines: &[Line], place: &Place) {
        let mut sums = [_mm512_setzero_ps(); R];
        for (x, line) in x.chunks_exact(R).zip(lines) {
            // SAFETY: lines are aligned; the same bits.
            let w: __m512bh =
                unsafe { std::mem::transmute(_mm512_load_si512(std::ptr::from_ref(line).cast())) };
            for (x, sum) in x.iter().zip(&mut sums) {
                // SAFETY: the same bits.
                let both: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(*x as i32)) };
                *sum = _mm512_dpbf16_ps(*sum, both, w);
            }
        }
        let mask = ((1u32 << place.width) - 1) as u16;
        for (r, sum) in sums.iter().enumerate() {
            // SAFETY: masked to the outputs the caller vouches for.
            unsafe { _mm512_mask_storeu_ps(place.y.wrapping_add(r * place.stride), mask, *sum) }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::blocks;
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

    /// Rows of two adapters and of none, in blocks.
    pub fn cut() -> (Vec<(usize, usize)>, Vec<Option<usize>>) {
        let parts = [(0..13, Some(1)), (13..18, None), (18..31, Some(0))];
        let mut cut = (Vec::new(), Vec::new());
        for (rows, owner) in parts {
            cut.0.extend(blocks(rows));
            cut.1.resize(cut.0.len(), owner);
        }
        cut
    }

    pub fn owner(row: usize) -> Option<usize> {
        match row {
            0..13 => Some(1),
            13..18 => None,
            _ => Some(0),
        }
    }

    #[test]
    fn products_agree_with_the_definition() {
        let (blocks, owners) = cut();
        for (rank, inputs) in [(1, 7), (16, 64), (5, 130), (40, 90)] {
            // Six columns of x that do not count, before those that do.
            let (all, first) = (inputs + 6, 6);
            let x = numbers(31 * all, 1);
            let mut packed = Rows::default();
            packed.pack_blocks(&x, all, &blocks);
            let rows: Vec<Vec<f32>> = (0..2).map(|s| numbers(rank * inputs, 2 + s)).collect();
            let turned = |w: &Vec<f32>| -> Vec<f32> {
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
            let straight = rows.iter().map(|w| part(Slim::of_rows(w, inputs)));
            let half = |w| part(Slim::of_columns(&turned(w), rank, 0.5));
            let halves = rows.iter().map(half).collect();
            for (parts, scale) in [(straight.collect::<Vec<_>>(), 1.0), (halves, 0.5)] {
                let width = rank + 5;
                let mut y = vec![9.0; 31 * width];
                multiply(&packed, &owners, &parts, &mut y, width);
                for (row, y) in y.chunks_exact(width).enumerate() {
                    let Some(owner) = owner(row) else {
                        assert!(y.iter().all(|y| *y == 9.0));
                        continue;
                    };
                    assert_eq!((y[2], y[rank + 3]), (9.0, 9.0));
                    let x = &x[row * all + first..];
                    for (r, w) in rows[owner].chunks_exact(inputs).enumerate() {
                        let dot = w.iter().zip(x).map(|(w, x)| round(*w) * round(*x));
                        let want = scale * dot.sum::<f64>();
                        near(y[3 + r], want, &format!("rank {rank}, {inputs} inputs"));
                    }
                }
            }
        }
    }
}
