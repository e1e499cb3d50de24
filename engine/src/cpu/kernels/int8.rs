//! The frozen product with weights of at most eight bits: `y[T, N] = x[T, K] · W[N, K]ᵀ`, activations and
//! sums in f32.
//!
//! A weight is `code · scale + zero`, with the scale and zero of its group of 32 along K. A decoding step has to
//! read all weights, and in this form it reads a seventh to a third of f32's bytes. Weights lie in [`Panels`]
//! of 32 outputs, each panel in the narrowest format that holds it exactly ([`panels`], [`codes`]).
//!
//! A small batch dequantises the weights in registers and multiplies them at once. A large batch dequantises
//! one block of K of a panel into a buffer of the first-level cache, and runs all rows over the buffer in
//! tiles. Both add the same products in the same order, cut along K in the same places: a row's result has
//! the same bits whatever else is in the batch.

mod codes;
mod job;
mod large_batch;
mod panels;
mod scales;
mod small_batch;

use super::simd::{Simd, dispatch};
use super::{Init, SharedMut};
use codes::PANEL;
pub(super) use codes::bits_for;
use job::Job;
pub use panels::Panels;
use rayon::prelude::*;
use std::ops::Range;

/// Multiplications below which a second thread is not worth waking.
const SERIAL: usize = 1 << 17;

/// `y[T, N] = init + x · Wᵀ`, over the threads of the current pool.
pub fn multiply(x: &[f32], w: &Panels, y: &mut [f32], init: Init) {
    let rows = x.len() / w.inputs;
    assert!(x.len() == rows * w.inputs && y.len() == rows * w.outputs);
    if let Init::Bias(bias) = init {
        assert_eq!(bias.len(), w.outputs);
    }
    if rows == 0 {
        return;
    }
    let y = SharedMut::new(y);
    let job = Job {
        x,
        rows,
        w,
        y,
        init,
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

/// # Safety
/// No other task may touch these panels' outputs.
unsafe fn task(job: &Job, panels: Range<usize>) {
    // SAFETY: `dispatch` calls what the processor has; the rest is the caller's promise.
    unsafe { dispatch!(run_panels(job: &Job, panels: Range<usize>)) }
}

/// # Safety
/// As [`task`]; the processor must have `S`.
#[inline(always)]
unsafe fn run_panels<S: Simd>(job: &Job, panels: Range<usize>) {
    // SAFETY: handed on to the caller.
    unsafe {
        if job.rows <= small_batch::MAX_ROWS && small_batch::supports(job.w) {
            for panel in panels {
                small_batch::multiply::<S>(job, panel);
            }
        } else {
            large_batch::multiply::<S>(job, panels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::codes::GROUP;
    use super::panels::{Panel, Scales, matrix, widest};
    use super::*;
    use crate::cpu::kernels::numbers;

    #[test]
    fn agrees_with_the_definition_at_odd_shapes() {
        for (rows, n, k) in [
            (1, 5, 7),
            (2, 64, 300),
            (3, 33, 64),
            (10, 32, 64),
            (11, 33, 96),
            (12, 32, 64),
            (13, 33, 2051),
            (29, 70, 130),
            (200, 96, 96),
        ] {
            let (x, w) = (numbers(rows * k, 1), numbers(n * k, 2));
            let bias = numbers(n, 3);
            let cut = n / 2 * k;
            let panels = Panels::pack(&[w[..cut].to_vec(), w[cut..].to_vec()], k);
            let w = matrix(&panels);
            let mut y = vec![f32::NAN; rows * n];
            multiply(&x, &panels, &mut y, Init::Bias(&bias));
            multiply(&x, &panels, &mut y, Init::Accumulate);
            let d_y = numbers(rows * n, 4);
            let mut d_x = vec![f32::NAN; rows * k];
            multiply(&d_y, &panels.transpose(), &mut d_x, Init::Zero);
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
                    assert!((got - want).abs() < 1e-4, "transposed: {got} for {want}");
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company() {
        let (n, k) = (64, 1100);
        let (x, w) = (numbers(240 * k, 1), numbers(n * k, 2));
        let panels = Panels::pack(&[w], k);
        let run = |x: &[f32]| {
            let mut y = vec![0.0; x.len() / k * n];
            multiply(x, &panels, &mut y, Init::Zero);
            y
        };
        let all = run(&x);
        for rows in [1, 2, 3, 4, 7, 13] {
            assert_eq!(run(&x[..rows * k]), all[..rows * n], "{rows} rows");
        }
    }

    #[test]
    fn a_panel_s_width_changes_no_bit() {
        let (n, k) = (70, 352);
        let random = numbers(n * k, 2);
        for (levels, bits) in [(16.0, 4), (32.0, 5)] {
            let q = |i: usize| ((random[i] + 0.5) * levels).floor() - levels / 2.0;
            let short = |i: usize| f32::from(half::f16::from_f32(random[i / GROUP] * 0.01));
            // The first panel's scales are of 32 bits.
            let wide = |i: usize| {
                if i < 32 * k {
                    random[i / GROUP] * 0.01
                } else {
                    short(i)
                }
            };
            let w: Vec<f32> = (0..n * k).map(|i| q(i) * wide(i)).collect();
            let narrow = Panels::pack(&[w], k);
            let widest = widest(&narrow);
            assert!(narrow.panels.iter().all(|p| p.bits == bits));
            let half = |p: &Panel| matches!(p.scales, Scales::Half(_));
            assert_eq!(
                narrow.panels.iter().map(half).collect::<Vec<_>>(),
                [false, true, true]
            );
            assert!(widest.panels.iter().all(|p| p.bits == 8 && !half(p)));
            for rows in [1, 2, 3, 4, 5, 13, 200] {
                let x = numbers(rows * k, 1);
                let run = |w: &Panels| {
                    let mut y = vec![0.0; rows * n];
                    multiply(&x, w, &mut y, Init::Zero);
                    y
                };
                assert_eq!(run(&narrow), run(&widest), "{bits} bits, {rows} rows");
            }
        }
    }
}
