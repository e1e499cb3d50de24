//! The segmented product of served adapters (Punica's SGMV, arXiv 2310.18547): `y = s · x · Wᵀ`, where each
//! row of the batch names its own W.
//!
//! Matrices are in bf16, which halves what a decoding step reads of them, packed `[N/16][K/2][16][2]`.
//! Activations and sums stay f32: only weights are rounded. A row's sums depend on the row alone.

use super::SharedMut;
use super::bf16::{PairVector, ZERO, pair};
use super::simd::{Simd, dispatch};
use rayon::prelude::*;
use std::ops::Range;

/// Outputs of a vector.
const LANES: usize = 16;
/// Most rows of a tile: their sums, two registers each, fit the smallest register file.
const TILE_ROWS: usize = 6;
/// Most rows of one job.
const JOB_ROWS: usize = 48;
/// Most vectors of outputs of one job.
const JOB_COLUMNS: usize = 48;
/// Distance of the prefetch, in vectors.
const AHEAD: usize = 64;
/// Vectors times rows below which waking another thread costs more than it saves.
const SERIAL: usize = 2048;

/// A matrix `[outputs, inputs]`, rounded to bf16.
pub struct Bf16Matrix {
    outputs: usize,
    inputs: usize,
    vectors: Vec<PairVector>,
}

/// Rows of the batch, and the matrices that every one of these rows is multiplied with.
pub struct Task<'a> {
    pub rows: &'a [usize],
    pub parts: Vec<Part<'a>>,
}

/// One matrix of a task.
pub struct Part<'a> {
    pub w: &'a Bf16Matrix,
    /// The first column of x that it reads.
    pub from: usize,
    /// The first column of y that it writes.
    pub to: usize,
    /// The factor of the product.
    pub scale: f32,
}

impl Bf16Matrix {
    /// Packs `w[outputs, inputs]`.
    pub fn pack(w: &[f32], inputs: usize) -> Self {
        let outputs = w.len() / inputs;
        let pairs = inputs.div_ceil(2);
        let mut vectors = vec![ZERO; outputs.div_ceil(LANES) * pairs];
        let chunks = vectors.chunks_exact_mut(pairs);
        for (vectors, rows) in chunks.zip(w.chunks(LANES * inputs)) {
            for (j, row) in rows.chunks_exact(inputs).enumerate() {
                for (vector, values) in vectors.iter_mut().zip(row.chunks(2)) {
                    vector.0[j] = pair(values[0], values.get(1).copied().unwrap_or(0.0));
                }
            }
        }
        Bf16Matrix {
            outputs,
            inputs,
            vectors,
        }
    }
}

/// Writes the products of `x[T, x_width]` to the tasks' places in `y[T, y_width]`, or adds them there with
/// `add`, over the threads of the current pool.
///
/// # Panics
/// If a row is in two tasks, if a task's parts overlap in y or are not in ascending order there, or if a part lies
/// outside x or y.
pub fn multiply(
    tasks: &[Task],
    x: &[f32],
    x_width: usize,
    y: &mut [f32],
    y_width: usize,
    add: bool,
) {
    check(tasks, x.len(), x_width, y.len(), y_width);
    let y = SharedMut::new(y);
    let mut jobs = Vec::new();
    let mut work = 0;
    for task in tasks {
        for part in &task.parts {
            work += task.rows.len() * part.w.vectors.len();
            let columns = part.w.outputs.div_ceil(LANES);
            for rows in task.rows.chunks(JOB_ROWS) {
                for first in (0..columns).step_by(JOB_COLUMNS) {
                    jobs.push(Job {
                        part,
                        rows,
                        columns: first..(first + JOB_COLUMNS).min(columns),
                        x,
                        x_width,
                        y,
                        y_width,
                        add,
                    });
                }
            }
        }
    }
    // SAFETY: the jobs' places of y are inside it and apart from each other (checked above).
    let run = |job: &Job| unsafe { run(job) };
    match work < SERIAL {
        true => jobs.iter().for_each(run),
        false => jobs.par_iter().with_max_len(1).for_each(run),
    }
}

fn check(tasks: &[Task], x_len: usize, x_width: usize, y_len: usize, y_width: usize) {
    let rows = (x_len / x_width).min(y_len / y_width);
    let mut taken = vec![false; rows];
    for task in tasks {
        for row in task.rows {
            assert!(!std::mem::replace(&mut taken[*row], true), "a row twice");
        }
        let mut end = 0;
        for part in &task.parts {
            assert!(part.from + part.w.inputs <= x_width && part.to >= end);
            end = part.to + part.w.outputs;
        }
        assert!(end <= y_width);
    }
}

/// Some rows of a task against some vectors of 16 outputs.
struct Job<'a> {
    part: &'a Part<'a>,
    rows: &'a [usize],
    columns: Range<usize>,
    x: &'a [f32],
    x_width: usize,
    y: SharedMut<'a>,
    y_width: usize,
    add: bool,
}

/// # Safety
/// The job must lie inside x and y, and no other may touch its places of y.
unsafe fn run(job: &Job) {
    // SAFETY: `dispatch` calls what the processor has; the rest is the caller's promise.
    unsafe { dispatch!(run_in(job: &Job)) }
}

/// # Safety
/// As [`run`]; the processor must have `S`.
#[inline(always)]
unsafe fn run_in<S: Simd>(job: &Job) {
    for column in job.columns.clone() {
        for rows in job.rows.chunks(TILE_ROWS) {
            // SAFETY: handed on to the caller.
            unsafe {
                match rows.len() {
                    1 => tile::<S, 1>(job, column, rows),
                    2 => tile::<S, 2>(job, column, rows),
                    3 => tile::<S, 3>(job, column, rows),
                    4 => tile::<S, 4>(job, column, rows),
                    5 => tile::<S, 5>(job, column, rows),
                    _ => tile::<S, TILE_ROWS>(job, column, rows),
                }
            }
        }
    }
}

/// # Safety
/// As [`run_in`], for `R` rows.
#[inline(always)]
// Plain indices: an adaptor's closures are not compiled for the instruction set.
#[allow(clippy::needless_range_loop)]
unsafe fn tile<S: Simd, const R: usize>(job: &Job, column: usize, rows: &[usize]) {
    let Part { w, from, to, scale } = job.part;
    let pairs = w.inputs.div_ceil(2);
    let vectors = w.vectors[column * pairs..(column + 1) * pairs].as_ptr();
    let width = LANES.min(w.outputs - column * LANES);
    let mut x = [job.x.as_ptr(); R];
    for r in 0..R {
        x[r] = x[r].wrapping_add(rows[r] * job.x_width + from);
    }
    let mut first = 0;
    while first < width {
        let at = vectors.cast::<u32>().wrapping_add(first);
        // SAFETY: w has `pairs` vectors here; x has `inputs` elements from its pointers on, so the second of
        // the last pair is not read where their number is odd; y's places are the caller's promise.
        unsafe {
            let mut low = [S::splat(0.0); R];
            let mut high = low;
            for k in 0..w.inputs / 2 {
                let vector = at.add(LANES * k);
                S::prefetch(vector.wrapping_add(LANES * AHEAD));
                let (l, h) = (S::low(vector), S::high(vector));
                for r in 0..R {
                    low[r] = S::fma(S::splat(*x[r].add(2 * k)), l, low[r]);
                    high[r] = S::fma(S::splat(*x[r].add(2 * k + 1)), h, high[r]);
                }
            }
            if w.inputs % 2 == 1 {
                let l = S::low(at.add(LANES * (pairs - 1)));
                for r in 0..R {
                    low[r] = S::fma(S::splat(*x[r].add(w.inputs - 1)), l, low[r]);
                }
            }
            let mask = S::mask(width - first);
            for r in 0..R {
                let to = to + column * LANES + first;
                let y = job.y.at(rows[r] * job.y_width + to, width - first);
                let before = match job.add {
                    true => S::load_masked(y, mask),
                    false => S::splat(0.0),
                };
                let sum = S::fma(S::splat(*scale), S::add(low[r], high[r]), before);
                S::store_masked(y, mask, sum);
            }
        }
        first += S::LANES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::numbers;

    fn round(x: f32) -> f64 {
        f64::from(half::bf16::from_f32(x).to_f32())
    }

    #[test]
    fn agrees_with_the_definition_at_odd_shapes() {
        for (inputs, outputs) in [(1, 1), (7, 5), (16, 40), (33, 16), (576, 17), (64, 700)] {
            let (x_width, y_width, rows) = (inputs + 3, 2 * outputs + 1, 60);
            let w = [numbers(outputs * inputs, 1), numbers(outputs * inputs, 2)];
            let packed = w.each_ref().map(|w| Bf16Matrix::pack(w, inputs));
            let x = numbers(rows * x_width, 3);
            let before = numbers(rows * y_width, 4);
            let part = |i: usize, to, scale| Part {
                w: &packed[i],
                from: 2,
                to,
                scale,
            };
            // Rows in any order, one of them in no task.
            let (even, odd): (Vec<usize>, Vec<usize>) = (1..rows).rev().partition(|r| r % 2 == 0);
            let tasks = [
                Task {
                    rows: &even,
                    parts: vec![part(0, 0, 2.0), part(1, outputs + 1, 0.5)],
                },
                Task {
                    rows: &odd,
                    parts: vec![part(1, 1, -1.0)],
                },
            ];
            for add in [false, true] {
                let mut y = before.clone();
                multiply(&tasks, &x, x_width, &mut y, y_width, add);
                let mut want: Vec<f64> = before.iter().map(|v| f64::from(*v)).collect();
                for task in &tasks {
                    for (row, part) in task
                        .rows
                        .iter()
                        .flat_map(|r| task.parts.iter().map(move |p| (r, p)))
                    {
                        let w = &w[usize::from(std::ptr::eq(part.w, &packed[1]))];
                        for o in 0..outputs {
                            let x = &x[row * x_width + 2..];
                            let dot =
                                (0..inputs).map(|k| f64::from(x[k]) * round(w[o * inputs + k]));
                            let value = &mut want[row * y_width + part.to + o];
                            *value = f64::from(part.scale) * dot.sum::<f64>()
                                + if add { *value } else { 0.0 };
                        }
                    }
                }
                for (got, want) in y.iter().zip(&want) {
                    assert!(
                        (f64::from(*got) - want).abs() < 1e-4,
                        "{inputs}, {outputs}: {got} for {want}"
                    );
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a row twice")]
    fn no_row_is_in_two_tasks() {
        let w = Bf16Matrix::pack(&[1.0], 1);
        let task = || Task {
            rows: &[0],
            parts: vec![Part {
                w: &w,
                from: 0,
                to: 0,
                scale: 1.0,
            }],
        };
        multiply(&[task(), task()], &[1.0], 1, &mut [0.0], 1, false);
    }
}
