//! The frozen product in bf16: `y[T, N] = x[T, K] · W[N, K]ᵀ` by AVX-512's `vdpbf16ps`.
//!
//! Weights are packed once into **panels** of 32 outputs: `[N/32][K/2][32][2]`, so that two register
//! loads bring the pair (k, k+1) of 32 outputs. Activations are packed per call into blocks of at
//! most 12 rows, `[rows/12][K/2][12][2]`, so that the broadcasts of a block stream from one place.
//! A tile of 12 rows × 32 outputs lives in 24 registers.
//!
//! K is cut into stretches whose panel slice stays in the second-level cache while a chunk of rows
//! runs over it. The cuts depend on K alone, and a row's sums on nothing but the row, so a row's
//! result is the same bits whatever else is in the batch.

mod panels;
mod rows;
mod tile;

use super::{Shared, Start};
use panels::PANEL;
pub use panels::Panels;
pub(super) use panels::{Line, ZERO, pair};
use rayon::prelude::*;
pub use rows::Rows;
use rows::blocks;
use tile::Tile;

/// Rows that run over one panel slice before the next is fetched.
const CHUNK_BLOCKS: usize = 16;
/// Pairs of one K stretch: 512 · 128 bytes of panel.
const STRETCH: usize = 512;
/// Weight bytes one task goes through for all rows: they should stay in the last-level cache.
const GROUP_BYTES: usize = 2 << 20;

/// The instruction this form needs.
pub fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return super::has_avx512() && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// `y[T, N] = start + x · Wᵀ`, over the threads of the current pool.
pub fn multiply(x: &Rows, w: &Panels, y: &mut [f32], start: Start) {
    assert!(x.inputs == w.inputs && y.len() == x.rows * w.outputs);
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), w.outputs);
    }
    if x.rows == 0 {
        return;
    }
    let panels = w.outputs.div_ceil(PANEL);
    let threads = rayon::current_num_threads();
    let by_cache = (GROUP_BYTES / (w.panel_lines() * 64)).max(8);
    let group = by_cache.min(panels.div_ceil(2 * threads)).max(1);
    let blocks: Vec<_> = blocks(x.rows).collect();
    let y = Shared::new(y);
    let run = |g: usize| {
        let mine = g * group..(g * group + group).min(panels);
        for chunk in blocks.chunks(CHUNK_BLOCKS) {
            multiply_chunk(x, w, y, start, chunk, mine.clone());
        }
    };
    (0..panels.div_ceil(group))
        .into_par_iter()
        .with_max_len(1)
        .for_each(run);
}

/// One chunk of row blocks against a group of panels.
fn multiply_chunk(
    x: &Rows,
    w: &Panels,
    y: Shared,
    start: Start,
    blocks: &[(usize, usize)],
    panels: std::ops::Range<usize>,
) {
    let pairs = w.inputs.div_ceil(2);
    let stretch = pairs.div_ceil(pairs.div_ceil(STRETCH));
    for first in (0..pairs).step_by(stretch) {
        let length = stretch.min(pairs - first);
        for p in panels.clone() {
            let lines = &w.lines[(p * pairs + first) * 2..(p * pairs + first + length) * 2];
            let column = p * PANEL;
            let width = PANEL.min(w.outputs - column);
            for &(row, rows) in blocks {
                let from = row * pairs + first * rows;
                let tile = Tile {
                    x: &x.pairs[from..from + length * rows],
                    lines,
                    y: y.at(row * w.outputs + column, (rows - 1) * w.outputs + width),
                    stride: w.outputs,
                    width,
                    start: match start {
                        Start::Bias(b) if first == 0 => Start::Bias(&b[column..column + width]),
                        Start::Zero if first == 0 => Start::Zero,
                        _ => Start::Keep,
                    },
                };
                // SAFETY: `y` points at `rows` rows of `width` outputs (checked by `at`), and these
                // outputs belong to this task's panels alone.
                unsafe { tile.run(rows) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::numbers;
    use half::bf16;

    fn round(x: f32) -> f64 {
        f64::from(bf16::from_f32(x).to_f32())
    }

    #[test]
    fn agrees_with_the_definition_at_odd_shapes() {
        for (rows, n, k) in [
            (1, 5, 7),
            (12, 32, 64),
            (13, 33, 2051),
            (29, 70, 130),
            (200, 96, 96),
        ] {
            let (x, w) = (numbers(rows * k, 1), numbers(n * k, 2));
            let bias = numbers(n, 3);
            let cut = n / 2 * k;
            let panels = Panels::pack(&[&w[..cut], &w[cut..]], k);
            let mut packed = Rows::default();
            packed.pack(&x, k);
            let mut y = vec![f32::NAN; rows * n];
            multiply(&packed, &panels, &mut y, Start::Bias(&bias));
            multiply(&packed, &panels, &mut y, Start::Keep);
            for t in 0..rows {
                for o in 0..n {
                    let dot = (0..k).map(|i| round(x[t * k + i]) * round(w[o * k + i]));
                    let want = 2.0 * dot.sum::<f64>() + f64::from(bias[o]);
                    let got = f64::from(y[t * n + o]);
                    assert!(
                        (got - want).abs() < 1e-4,
                        "{rows}x{n}x{k}: {got} for {want}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company() {
        let (n, k) = (64, 1100);
        let (x, w) = (numbers(40 * k, 1), numbers(n * k, 2));
        let panels = Panels::pack(&[&w], k);
        let run = |x: &[f32]| {
            let mut packed = Rows::default();
            packed.pack(x, k);
            let mut y = vec![0.0; x.len() / k * n];
            multiply(&packed, &panels, &mut y, Start::Zero);
            y
        };
        let all = run(&x);
        for rows in [1, 7, 13] {
            assert_eq!(run(&x[..rows * k]), all[..rows * n]);
        }
    }
}
