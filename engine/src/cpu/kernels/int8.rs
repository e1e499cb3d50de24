//! The frozen product with weights of eight bits: `y[T, N] = x[T, K] · W[N, K]ᵀ`, activations and sums
//! in f32.
//!
//! A weight is `q · scale + zero`, with the scale and zero of its group of 32 along K, so reading all
//! weights, which is what a decoding step costs, moves a third of f32's bytes. Weights lie in [`Panels`]
//! of 32 outputs, `[N/32][K][32]`.
//!
//! Few rows: the weights are widened in registers on their way into the sums. Many rows: a stretch of a
//! panel is widened once into a buffer of the first-level cache, and all rows run over it in tiles. Both
//! add the same products in the same order, cut along K in the same places, so a row's result is the
//! same bits whatever else is in the batch.

mod panels;

use super::simd::{Simd, dispatch};
use super::{Shared, Start};
pub use panels::Panels;
use panels::{GROUP, PANEL, Steps};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// Most steps of K that a tile runs over: whole groups, and a widened stretch of half a panel is 20 KB.
const STRETCH: usize = 320;
/// Rows that run over one stretch before the next is widened: their share of x stays in the
/// second-level cache.
const CHUNK: usize = 192;
/// Up to this many rows are multiplied with the weights in registers.
const FEW: usize = 3;
/// Products below which a second thread is not worth its waking.
const SERIAL: usize = 1 << 17;

thread_local! {
    static WIDENED: RefCell<Vec<f32>> = RefCell::default();
}

/// `y[T, N] = start + x · Wᵀ`, over the threads of the current pool.
pub fn multiply(x: &[f32], w: &Panels, y: &mut [f32], start: Start) {
    let rows = x.len() / w.inputs;
    assert!(x.len() == rows * w.inputs && y.len() == rows * w.outputs);
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), w.outputs);
    }
    if rows == 0 {
        return;
    }
    let y = Shared::new(y);
    let job = Job {
        x,
        rows,
        w,
        y,
        start,
    };
    let panels = w.outputs.div_ceil(PANEL);
    // SAFETY: the tasks' panels are disjoint, hence the outputs they write.
    let run = |mine: Range<usize>| unsafe { task(&job, mine) };
    if rows * w.inputs * w.outputs < SERIAL {
        return run(0..panels);
    }
    let size = panels.div_ceil(3 * rayon::current_num_threads());
    (0..panels.div_ceil(size))
        .into_par_iter()
        .with_max_len(1)
        .for_each(|i| run(i * size..(i * size + size).min(panels)));
}

/// Where K is cut: as evenly as groups allow.
fn stretch(inputs: usize) -> usize {
    let even = inputs.div_ceil(inputs.div_ceil(STRETCH));
    even.next_multiple_of(GROUP).min(STRETCH)
}

struct Job<'a> {
    x: &'a [f32],
    rows: usize,
    w: &'a Panels,
    y: Shared<'a>,
    start: Start<'a>,
}

/// # Safety
/// No other task may touch these panels' outputs.
unsafe fn task(job: &Job, panels: Range<usize>) {
    // A closure is not compiled for the instruction set of what it stands in: no kernel inside.
    WIDENED.with_borrow_mut(|widened| {
        widened.resize(STRETCH * PANEL, 0.0);
        // SAFETY: handed on to the caller.
        unsafe { run(job, panels, widened) }
    });
}

/// # Safety
/// As [`task`].
unsafe fn run(job: &Job, panels: Range<usize>, widened: &mut [f32]) {
    // SAFETY: `dispatch` calls what the processor has; the rest is the caller's promise.
    unsafe { dispatch!(run_panels(job: &Job, panels: Range<usize>, widened: &mut [f32])) }
}

/// # Safety
/// As [`task`]; the processor must have `S`.
#[inline(always)]
unsafe fn run_panels<S: Simd>(job: &Job, panels: Range<usize>, widened: &mut [f32]) {
    if job.rows <= FEW && matches!(job.w.steps, Steps::Inputs(_)) {
        for panel in panels {
            // SAFETY: handed on to the caller.
            unsafe {
                match job.rows {
                    1 => few_rows::<S, 1>(job, panel),
                    2 => few_rows::<S, 2>(job, panel),
                    _ => few_rows::<S, FEW>(job, panel),
                }
            }
        }
        return;
    }
    for first_row in (0..job.rows).step_by(CHUNK) {
        let rows = first_row..(first_row + CHUNK).min(job.rows);
        for first in (0..job.w.inputs).step_by(stretch(job.w.inputs)) {
            let depth = stretch(job.w.inputs).min(job.w.inputs - first);
            for panel in panels.clone() {
                for lane in (0..PANEL).step_by(2 * S::LANES) {
                    let part = Part {
                        panel,
                        lane,
                        first,
                        depth,
                    };
                    if panel * PANEL + lane < job.w.outputs {
                        // SAFETY: handed on to the caller; the buffer holds a stretch.
                        unsafe {
                            widen::<S>(job.w, &part, widened);
                            run_rows::<S>(job, &part, rows.clone(), widened);
                        }
                    }
                }
            }
        }
    }
}

/// A stretch of K of one panel, `2 · LANES` outputs from `lane` on.
struct Part {
    panel: usize,
    lane: usize,
    first: usize,
    depth: usize,
}

/// `[depth][2 · LANES]` weights of a part, in f32.
///
/// # Safety
/// The processor must have `S`.
#[inline(always)]
unsafe fn widen<S: Simd>(w: &Panels, part: &Part, out: &mut [f32]) {
    let from = (part.panel * w.inputs + part.first) * PANEL;
    let values = &w.values[from..from + part.depth * PANEL];
    assert!(out.len() >= part.depth * 2 * S::LANES && part.lane + 2 * S::LANES <= PANEL);
    let (values, out) = (values.as_ptr().wrapping_add(part.lane), out.as_mut_ptr());
    // SAFETY: rows of the part, checked above; the steps have its groups.
    unsafe {
        match &w.steps {
            Steps::Inputs(steps) => {
                for k in (0..part.depth).step_by(GROUP) {
                    let group = part.panel * w.inputs.div_ceil(GROUP) + (part.first + k) / GROUP;
                    let at = steps[group * 2 * PANEL..][..2 * PANEL]
                        .as_ptr()
                        .add(part.lane);
                    let (scale, zero) = (pair::<S>(at), pair::<S>(at.add(PANEL)));
                    for k in k..(k + GROUP).min(part.depth) {
                        widen_row::<S>(values, out, k, scale, zero);
                    }
                }
            }
            Steps::Outputs(steps) => {
                let steps = &steps[(part.panel * w.inputs + part.first) * 2..][..part.depth * 2];
                for k in 0..part.depth {
                    let (scale, zero) = (S::splat(steps[2 * k]), S::splat(steps[2 * k + 1]));
                    widen_row::<S>(values, out, k, [scale; 2], [zero; 2]);
                }
            }
        }
    }
}

/// # Safety
/// `at` must have two registers; the processor must have `S`.
#[inline(always)]
unsafe fn pair<S: Simd>(at: *const f32) -> [S::Floats; 2] {
    // SAFETY: the caller's promise.
    unsafe { [S::load(at), S::load(at.add(S::LANES))] }
}

/// # Safety
/// `values` must have a row `k` of a panel, `out` one of a part; the processor must have `S`.
#[inline(always)]
unsafe fn widen_row<S: Simd>(
    values: *const i8,
    out: *mut f32,
    k: usize,
    scale: [S::Floats; 2],
    zero: [S::Floats; 2],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (from, to) = (values.add(k * PANEL), out.add(k * 2 * S::LANES));
        let high = S::widen(from.add(S::LANES));
        S::store(to, S::fma(S::widen(from), scale[0], zero[0]));
        S::store(to.add(S::LANES), S::fma(high, scale[1], zero[1]));
    }
}

/// # Safety
/// As [`task`]; the processor must have `S`.
#[inline(always)]
unsafe fn run_rows<S: Simd>(job: &Job, part: &Part, rows: Range<usize>, widened: &[f32]) {
    let (inputs, outputs) = (job.w.inputs, job.w.outputs);
    let column = part.panel * PANEL + part.lane;
    let width = (2 * S::LANES).min(outputs - column);
    let start = match job.start {
        Start::Bias(b) if part.first == 0 => Start::Bias(&b[column..column + width]),
        Start::Zero if part.first == 0 => Start::Zero,
        _ => Start::Keep,
    };
    let blocks = rows.len().div_ceil(S::ROWS);
    for b in 0..blocks {
        // As even as possible: a block of one row would waste most of its loads.
        let (from, to) = (rows.len() * b / blocks, rows.len() * (b + 1) / blocks);
        let (row, high) = (rows.start + from, to - from);
        let from = row * inputs + part.first;
        let x = &job.x[from..from + (high - 1) * inputs + part.depth];
        let tile = Tile {
            x: x.as_ptr(),
            x_stride: inputs,
            w: widened.as_ptr(),
            depth: part.depth,
            y: job
                .y
                .at(row * outputs + column, (high - 1) * outputs + width),
            y_stride: outputs,
            width,
            start,
        };
        // SAFETY: x and y were just checked to hold the tile, `widened` holds the stretch, and the
        // outputs are the caller's own.
        unsafe {
            match high {
                1 => tile.run::<S, 1>(),
                2 => tile.run::<S, 2>(),
                3 => tile.run::<S, 3>(),
                4 => tile.run::<S, 4>(),
                5 => tile.run::<S, 5>(),
                6 => tile.run::<S, 6>(),
                7 => tile.run::<S, 7>(),
                8 => tile.run::<S, 8>(),
                9 => tile.run::<S, 9>(),
                10 => tile.run::<S, 10>(),
                11 => tile.run::<S, 11>(),
                _ => tile.run::<S, 12>(),
            }
        }
    }
}

struct Tile<'a> {
    x: *const f32,
    x_stride: usize,
    w: *const f32,
    depth: usize,
    y: *mut f32,
    y_stride: usize,
    width: usize,
    start: Start<'a>,
}

impl Tile<'_> {
    /// `R` rows × two registers.
    ///
    /// # Safety
    /// `x`, `w` and `y` must hold the tile, `y` unshared; the processor must have `S`.
    #[inline(always)]
    unsafe fn run<S: Simd, const R: usize>(&self) {
        // SAFETY: inside the tile the caller vouches for.
        unsafe {
            let mut sums = [[S::splat(0.0); 2]; R];
            let x: [*const f32; R] =
                std::array::from_fn(|r| self.x.wrapping_add(r * self.x_stride));
            let mut w = self.w;
            for k in 0..self.depth {
                let (low, high) = (S::load(w), S::load(w.add(S::LANES)));
                for r in 0..R {
                    let value = S::splat(*x[r].add(k));
                    sums[r][0] = S::fma(value, low, sums[r][0]);
                    sums[r][1] = S::fma(value, high, sums[r][1]);
                }
                w = w.add(2 * S::LANES);
            }
            for (r, sums) in sums.iter().enumerate() {
                for (z, sum) in sums.iter().enumerate() {
                    finish::<S>(self, r, z, *sum);
                }
            }
        }
    }
}

/// Adds a register of sums to what `y` is to start from.
///
/// # Safety
/// As [`Tile::run`].
#[inline(always)]
unsafe fn finish<S: Simd>(tile: &Tile, row: usize, register: usize, sum: S::Floats) {
    let first = register * S::LANES;
    if first >= tile.width {
        return;
    }
    let y = tile.y.wrapping_add(row * tile.y_stride + first);
    // SAFETY: the tile's own place; what lies outside its width is masked.
    unsafe {
        if first + S::LANES <= tile.width {
            let before = match tile.start {
                Start::Zero => S::splat(0.0),
                Start::Bias(bias) => S::load(bias.as_ptr().add(first)),
                Start::Keep => S::load(y),
            };
            S::store(y, S::add(before, sum));
        } else {
            let mask = S::mask(tile.width - first);
            let before = match tile.start {
                Start::Zero => S::splat(0.0),
                Start::Bias(bias) => S::load_masked(bias.as_ptr().add(first), mask),
                Start::Keep => S::load_masked(y, mask),
            };
            S::store_masked(y, mask, S::add(before, sum));
        }
    }
}

/// One panel against `R` rows, the weights widened in registers.
///
/// # Safety
/// As [`task`]; the processor must have `S`.
#[inline(always)]
// Plain indices: an adaptor's closures are not compiled for the instruction set.
#[allow(clippy::needless_range_loop)]
unsafe fn few_rows<S: Simd, const R: usize>(job: &Job, panel: usize) {
    let (w, outputs) = (job.w, job.w.outputs);
    let Steps::Inputs(steps) = &w.steps else {
        unreachable!("checked by the caller");
    };
    let column = panel * PANEL;
    let width = PANEL.min(outputs - column);
    let values = &w.values[panel * w.inputs * PANEL..(panel + 1) * w.inputs * PANEL];
    let groups = w.inputs.div_ceil(GROUP);
    let steps = &steps[panel * groups * 2 * PANEL..(panel + 1) * groups * 2 * PANEL];
    assert_eq!(job.x.len(), R * w.inputs);
    for first in (0..w.inputs).step_by(stretch(w.inputs)) {
        let depth = stretch(w.inputs).min(w.inputs - first);
        let tile = Tile {
            x: job.x.as_ptr(),
            x_stride: w.inputs,
            w: std::ptr::null(),
            depth,
            y: job.y.at(column, (R - 1) * outputs + width),
            y_stride: outputs,
            width,
            start: match job.start {
                Start::Bias(b) if first == 0 => Start::Bias(&b[column..column + width]),
                Start::Zero if first == 0 => Start::Zero,
                _ => Start::Keep,
            },
        };
        // SAFETY: the slices above hold the panel and its steps, x the rows (checked); the outputs
        // are the caller's own.
        unsafe {
            let mut sums = [[S::splat(0.0); PANEL / 8]; R];
            for k in (first..first + depth).step_by(GROUP) {
                let mut scale = [S::splat(0.0); PANEL / 8];
                let mut zero = [S::splat(0.0); PANEL / 8];
                for z in 0..PANEL / S::LANES {
                    let at = steps.as_ptr().add(k / GROUP * 2 * PANEL + z * S::LANES);
                    scale[z] = S::load(at);
                    zero[z] = S::load(at.add(PANEL));
                }
                for k in k..(k + GROUP).min(first + depth) {
                    let at = values.as_ptr().add(k * PANEL);
                    for z in 0..PANEL / S::LANES {
                        let w = S::fma(S::widen(at.add(z * S::LANES)), scale[z], zero[z]);
                        for r in 0..R {
                            let value = S::splat(*tile.x.add(r * tile.x_stride + k));
                            sums[r][z] = S::fma(value, w, sums[r][z]);
                        }
                    }
                }
            }
            for (r, sums) in sums.iter().enumerate() {
                for (z, sum) in sums[..PANEL / S::LANES].iter().enumerate() {
                    finish::<S>(&tile, r, z, *sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::panels::matrix;
    use super::*;
    use crate::cpu::kernels::numbers;

    #[test]
    fn agrees_with_the_definition_at_odd_shapes() {
        for (rows, n, k) in [
            (1, 5, 7),
            (2, 64, 300),
            (3, 33, 64),
            (12, 32, 64),
            (13, 33, 2051),
            (29, 70, 130),
            (200, 96, 96),
        ] {
            let (x, w) = (numbers(rows * k, 1), numbers(n * k, 2));
            let bias = numbers(n, 3);
            let cut = n / 2 * k;
            let panels = Panels::pack(&[&w[..cut], &w[cut..]], k);
            let w = matrix(&panels);
            let mut y = vec![f32::NAN; rows * n];
            multiply(&x, &panels, &mut y, Start::Bias(&bias));
            multiply(&x, &panels, &mut y, Start::Keep);
            let d_y = numbers(rows * n, 4);
            let mut d_x = vec![f32::NAN; rows * k];
            multiply(&d_y, &panels.transpose(), &mut d_x, Start::Zero);
            let dot = |a: &dyn Fn(usize) -> f32, b: &dyn Fn(usize) -> f32, n: usize| -> f64 {
                (0..n).map(|i| f64::from(a(i)) * f64::from(b(i))).sum()
            };
            for t in 0..rows {
                for o in 0..n {
                    let want =
                        2.0 * dot(&|i| x[t * k + i], &|i| w[o * k + i], k) + f64::from(bias[o]);
                    let got = f64::from(y[t * n + o]);
                    assert!(
                        (got - want).abs() < 1e-4,
                        "{rows}x{n}x{k}: {got} for {want}"
                    );
                }
                for i in 0..k {
                    let want = dot(&|o| d_y[t * n + o], &|o| w[o * k + i], n);
                    let got = f64::from(d_x[t * k + i]);
                    assert!((got - want).abs() < 1e-4, "turned: {got} for {want}");
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company() {
        let (n, k) = (64, 1100);
        let (x, w) = (numbers(240 * k, 1), numbers(n * k, 2));
        let panels = Panels::pack(&[&w], k);
        let run = |x: &[f32]| {
            let mut y = vec![0.0; x.len() / k * n];
            multiply(x, &panels, &mut y, Start::Zero);
            y
        };
        let all = run(&x);
        for rows in [1, 2, 3, 4, 7, 13] {
            assert_eq!(run(&x[..rows * k]), all[..rows * n], "{rows} rows");
        }
    }
}
