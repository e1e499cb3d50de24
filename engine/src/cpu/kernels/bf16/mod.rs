//! The frozen product in bf16: `y[T, N] = x[T, K] · W[N, K]ᵀ` by AVX-512's `vdpbf16ps`.
//!
//! Weights are packed once into **panels** of 32 outputs: `[N/32][K/2][32][2]`, so that two register
//! loads bring the pair (k, k+1) of 32 outputs. Activations are packed per call into blocks of at
//! most 12 rows, `[rows/12][K/2][12][2]`, so that the broadcasts of a block stream from one place; even blocks, or
//! as the caller cuts them.
//! A tile of 12 rows × 32 outputs lives in 24 registers. Where a file holds weights in fewer bits, its codes
//! are kept instead ([`coded`]), and a stretch of a panel is made of them when its turn comes; so is one of the
//! transposed matrix ([`turned`]), which is not stored a second time.
//!
//! K is cut into stretches whose panel slice stays in the first-level cache while a chunk of rows
//! runs over it. The cuts depend on K alone, and a row's sums on nothing but the row, so a row's
//! result is the same bits whatever else is in the batch.

mod coded;
mod codes;
mod lines;
mod panels;
mod rows;
pub mod side;
pub mod slim;
mod tile;
mod turned;
mod weights;
#[cfg(target_arch = "x86_64")]
mod widen;

use super::{Shared, Start};
use codes::GROUP_PAIRS;
use panels::PANEL;
pub(super) use panels::{Line, ZERO, pair};
use rayon::prelude::*;
pub use rows::{Rows, blocks};
use side::Beside;
use std::cell::RefCell;
use std::ops::Range;
use tile::{Place, Tile};
pub use weights::{View, Weights};

/// Rows that run over one panel slice before the next is fetched.
const CHUNK_BLOCKS: usize = 16;
/// What stays in the second-level cache beside a panel.
const NEAR_BYTES: usize = 512 << 10;
/// Most pairs of one K stretch, whole groups of codes: 256 · 128 bytes of panel.
const STRETCH: usize = 256;
/// Weight bytes one task goes through for all rows: they should stay in the last-level cache.
const GROUP_BYTES: usize = 2 << 20;

thread_local! {
    /// A stretch of a panel, widened from its codes, or turned.
    static LINES: RefCell<Vec<Line>> = RefCell::default();
}

/// `y[T, N] = start + x · Wᵀ`, over the threads of the current pool.
pub fn multiply(x: &Rows, w: View, y: &mut [f32], start: Start) {
    multiply_beside(x, w, y, start, None);
}

/// [`multiply`] with a further product added to every tile while it is near.
pub fn multiply_beside(x: &Rows, w: View, y: &mut [f32], start: Start, beside: Option<&Beside>) {
    let (outputs, inputs) = (w.outputs(), w.inputs());
    assert!(x.inputs == inputs && y.len() == x.rows * outputs);
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), outputs);
    }
    if x.rows == 0 {
        return;
    }
    let panels = outputs.div_ceil(PANEL);
    let threads = rayon::current_num_threads();
    let by_cache = (GROUP_BYTES / (inputs.div_ceil(2) * 128)).max(8);
    let group = by_cache.min(panels.div_ceil(2 * threads)).max(1);
    if let Some(beside) = beside {
        beside.check(x, outputs);
    }
    let y = Shared::new(y);
    let run = |g: usize| {
        let mine = g * group..(g * group + group).min(panels);
        for chunk in (0..x.blocks.len()).step_by(CHUNK_BLOCKS) {
            let chunk = chunk..(chunk + CHUNK_BLOCKS).min(x.blocks.len());
            multiply_chunk(x, w, y, start, chunk, mine.clone(), beside);
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
    w: View,
    y: Shared,
    start: Start,
    chunk: Range<usize>,
    panels: Range<usize>,
    beside: Option<&Beside>,
) {
    let blocks = &x.blocks[chunk.clone()];
    let mut buffer = LINES.take();
    let (outputs, pairs) = (w.outputs(), w.inputs().div_ceil(2));
    let stretch = stretch(pairs);
    let stretches = pairs.div_ceil(stretch);
    // A panel is read to its end if all that the chunk needs of x stays near; else x by stretches.
    let rows: usize = blocks.iter().map(|(_, rows)| rows).sum();
    let near = 4 * rows * pairs <= NEAR_BYTES;
    let order = |i: usize| match near {
        true => (i / stretches, i % stretches),
        false => (i % panels.len(), i / panels.len()),
    };
    for (p, nth) in (0..panels.len() * stretches).map(order) {
        let (p, first) = (panels.start + p, nth * stretch);
        let length = stretch.min(pairs - first);
        let column = p * PANEL;
        let width = PANEL.min(outputs - column);
        let place = |row: usize, rows: usize| Place {
            y: y.at(row * outputs + column, (rows - 1) * outputs + width),
            stride: outputs,
            width,
            start: match start {
                Start::Bias(b) if first == 0 => Start::Bias(&b[column..column + width]),
                Start::Zero if first == 0 => Start::Zero,
                _ => Start::Keep,
            },
        };
        let part = |row: usize, rows: usize| {
            let from = row * pairs + first * rows;
            &x.pairs[from..from + length * rows]
        };
        if let (Some(w), &[(row, rows)]) = (w.codes(), blocks)
            && w.takes(rows)
        {
            // SAFETY: the place is `rows` rows of `width` outputs (checked by `at`), and these outputs
            // belong to this task's panels alone.
            unsafe { w.few(p, first, part(row, rows), rows, &place(row, rows)) }
        } else {
            let lines = w.lines(p, first, length, &mut buffer);
            for &(row, rows) in blocks {
                let tile = Tile {
                    x: part(row, rows),
                    rows,
                    lines,
                    place: place(row, rows),
                };
                // SAFETY: as above.
                unsafe { tile.run() }
            }
        }
        if let Some(beside) = beside
            && nth + 1 == stretches
        {
            for (block, &(row, rows)) in chunk.clone().zip(blocks) {
                let start = Start::Keep;
                let place = Place {
                    start,
                    ..place(row, rows)
                };
                // SAFETY: as above.
                unsafe { beside.add(block, p, (row, rows), place) }
            }
        }
    }
    LINES.set(buffer);
}

/// Where K is cut: as evenly as groups of codes allow.
fn stretch(pairs: usize) -> usize {
    let even = pairs.div_ceil(pairs.div_ceil(STRETCH));
    even.next_multiple_of(GROUP_PAIRS)
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
            let panels = Weights::pack(&[w[..cut].to_vec(), w[cut..].to_vec()], k);
            let mut packed = Rows::default();
            packed.pack(&x, k);
            let mut y = vec![f32::NAN; rows * n];
            multiply(&packed, panels.straight(), &mut y, Start::Bias(&bias));
            multiply(&packed, panels.straight(), &mut y, Start::Keep);
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
        let panels = Weights::pack(&[w], k);
        let run = |x: &[f32]| {
            let mut packed = Rows::default();
            packed.pack(x, k);
            let mut y = vec![0.0; x.len() / k * n];
            multiply(&packed, panels.straight(), &mut y, Start::Zero);
            y
        };
        let all = run(&x);
        for rows in [1, 7, 13] {
            assert_eq!(run(&x[..rows * k]), all[..rows * n]);
        }
    }
}
