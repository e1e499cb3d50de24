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

use super::{Shared, Start};
use half::bf16;
use rayon::prelude::*;

const PANEL: usize = 32;
const BLOCK_ROWS: usize = 12;
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

/// Sixteen pairs: one register.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; 16]);

pub(super) const ZERO: Line = Line([0; 16]);

/// Packed weights.
pub struct Panels {
    outputs: usize,
    inputs: usize,
    lines: Vec<Line>,
}

/// Packed activations, a buffer to be reused.
#[derive(Default)]
pub struct Rows {
    rows: usize,
    inputs: usize,
    pairs: Vec<u32>,
}

impl Panels {
    /// Packs matrices `[n_i, inputs]` stacked on top of each other.
    pub fn pack(parts: &[&[f32]], inputs: usize) -> Self {
        let rows: Vec<&[f32]> = parts.iter().flat_map(|p| p.chunks_exact(inputs)).collect();
        let mut panels = Self::zeros(rows.len(), inputs);
        let per_panel = panels.panel_lines();
        let work = panels
            .lines
            .par_chunks_mut(per_panel)
            .zip(rows.par_chunks(PANEL));
        work.for_each(|(lines, rows)| {
            for (j, row) in rows.iter().enumerate() {
                for (k, values) in row.chunks(2).enumerate() {
                    let high = values.get(1).copied().unwrap_or(0.0);
                    lines[2 * k + j / 16].0[j % 16] = pair(values[0], high);
                }
            }
        });
        panels
    }

    /// The same matrix, packed for the product with its transpose.
    pub fn transpose(&self) -> Self {
        let mut turned = Self::zeros(self.inputs, self.outputs);
        let (from, to) = (self.panel_lines(), turned.panel_lines());
        turned
            .lines
            .par_chunks_mut(to)
            .enumerate()
            .for_each(|(p, lines)| {
                // 32 new outputs are 16 pairs of the old inputs: 32 lines of every old panel.
                for (old, panel) in self.lines.chunks_exact(from).enumerate() {
                    let source = &panel[PANEL * p..(PANEL * p + PANEL).min(from)];
                    let target = &mut lines[PANEL * old..(PANEL * old + PANEL).min(to)];
                    for (i, line) in target.iter_mut().enumerate() {
                        // Line i holds new inputs 2·(i/2), +1 (old outputs) for 16 new outputs.
                        let (n, first) = (i / 2 * 2, i % 2 * 16);
                        for (lane, value) in line.0.iter_mut().enumerate() {
                            let k = first + lane;
                            if let Some(low) = source.get(k / 2 * 2 + n / 16) {
                                let high = &source[k / 2 * 2 + (n + 1) / 16];
                                let shift = 16 * (k % 2);
                                let low = (low.0[n % 16] >> shift) & 0xffff;
                                let high = (high.0[(n + 1) % 16] >> shift) & 0xffff;
                                *value = low | (high << 16);
                            }
                        }
                    }
                }
            });
        turned
    }

    /// Row `n` of the matrix, widened.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        let panel = &self.lines[n / PANEL * self.panel_lines()..];
        for (k, values) in out[..self.inputs].chunks_mut(2).enumerate() {
            let both = panel[2 * k + n % PANEL / 16].0[n % 16];
            values[0] = f32::from_bits(both << 16);
            if let Some(high) = values.get_mut(1) {
                *high = f32::from_bits(both & 0xffff_0000);
            }
        }
    }

    fn zeros(outputs: usize, inputs: usize) -> Self {
        let lines = outputs.div_ceil(PANEL) * inputs.div_ceil(2) * 2;
        Panels {
            outputs,
            inputs,
            lines: vec![ZERO; lines],
        }
    }

    fn panel_lines(&self) -> usize {
        self.inputs.div_ceil(2) * 2
    }
}

pub(super) fn pair(low: f32, high: f32) -> u32 {
    u32::from(bf16::from_f32(low).to_bits()) | (u32::from(bf16::from_f32(high).to_bits()) << 16)
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
fn blocks(rows: usize) -> impl Iterator<Item = (usize, usize)> {
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

/// Up to 12 rows × 32 outputs over one stretch of K.
struct Tile<'a> {
    x: &'a [u32],
    lines: &'a [Line],
    y: *mut f32,
    stride: usize,
    width: usize,
    start: Start<'a>,
}

impl Tile<'_> {
    /// # Safety
    /// `y` must be valid for `rows` rows of `width` elements, `stride` apart, and unshared.
    unsafe fn run(&self, rows: usize) {
        #[cfg(target_arch = "x86_64")]
        if available() {
            // SAFETY: the processor has the features; the rest is the caller's promise.
            return unsafe { x86::dispatch(self, rows) };
        }
        for r in 0..rows {
            for c in 0..self.width {
                let mut sum = 0.0f32;
                for (k, line) in self.lines.chunks_exact(2).enumerate() {
                    let (a, b) = (self.x[k * rows + r], line[c / 16].0[c % 16]);
                    sum += f32::from_bits(a << 16) * f32::from_bits(b << 16);
                    sum += f32::from_bits(a & 0xffff_0000) * f32::from_bits(b & 0xffff_0000);
                }
                // SAFETY: inside the tile the caller vouches for.
                let y = unsafe { &mut *self.y.add(r * self.stride + c) };
                *y = sum
                    + match self.start {
                        Start::Zero => 0.0,
                        Start::Bias(bias) => bias[c],
                        Start::Keep => *y,
                    };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Line, Start, Tile, pair};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub fn pack_block(x: &[f32], inputs: usize, rows: usize, out: &mut [u32]) {
        assert!(x.len() == rows * inputs && out.len() == rows * inputs.div_ceil(2));
        let whole = inputs / 32 * 32;
        let mut buffer = [[0u32; 16]; super::BLOCK_ROWS];
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

    /// # Safety
    /// As [`Tile::run`]; the processor must have AVX512_BF16.
    pub unsafe fn dispatch(tile: &Tile, rows: usize) {
        // SAFETY: handed on to the caller.
        unsafe {
            match rows {
                1 => run::<1>(tile),
                2 => run::<2>(tile),
                3 => run::<3>(tile),
                4 => run::<4>(tile),
                5 => run::<5>(tile),
                6 => run::<6>(tile),
                7 => run::<7>(tile),
                8 => run::<8>(tile),
                9 => run::<9>(tile),
                10 => run::<10>(tile),
                11 => run::<11>(tile),
                12 => run::<12>(tile),
                _ => unreachable!("a block has at most 12 rows"),
            }
        }
    }

    /// # Safety
    /// As [`dispatch`], with `rows = R`.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn run<const R: usize>(tile: &Tile) {
        assert_eq!(tile.x.len() * 2, tile.lines.len() * R);
        let mut sums = [[_mm512_setzero_ps(); 2]; R];
        let (mut x, mut w) = (tile.x.as_ptr(), tile.lines.as_ptr());
        for _ in 0..tile.lines.len() / 2 {
            // SAFETY: the assertion above: R pairs of x for every two lines.
            unsafe {
                let w0: __m512bh = std::mem::transmute(load(w));
                let w1: __m512bh = std::mem::transmute(load(w.add(1)));
                _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add(16).cast());
                _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add(17).cast());
                for (r, sum) in sums.iter_mut().enumerate() {
                    let both: __m512bh =
                        std::mem::transmute(_mm512_set1_epi32(x.add(r).read() as i32));
                    sum[0] = _mm512_dpbf16_ps(sum[0], both, w0);
                    sum[1] = _mm512_dpbf16_ps(sum[1], both, w1);
                }
                x = x.add(R);
                w = w.add(2);
            }
        }
        let full = (1u64 << tile.width) - 1;
        let masks = [full as u16, (full >> 16) as u16];
        for (r, sum) in sums.iter().enumerate() {
            for (half, (sum, mask)) in sum.iter().zip(masks).enumerate() {
                // SAFETY: masked to the `width` outputs the caller vouches for; the bias has as many.
                unsafe {
                    let y = tile.y.wrapping_add(r * tile.stride + half * 16);
                    let before = match tile.start {
                        Start::Zero => _mm512_setzero_ps(),
                        Start::Bias(bias) => {
                            _mm512_maskz_loadu_ps(mask, bias.as_ptr().wrapping_add(half * 16))
                        }
                        Start::Keep => _mm512_maskz_loadu_ps(mask, y),
                    };
                    _mm512_mask_storeu_ps(y, mask, _mm512_add_ps(before, *sum));
                }
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn load(line: *const Line) -> __m512i {
        // SAFETY: the caller's pointer is into the panel, and lines are aligned.
        unsafe { _mm512_load_si512(line.cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::numbers;

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

    #[test]
    fn transposing_keeps_every_element() {
        for (n, k) in [(5, 7), (64, 32), (70, 33), (33, 130)] {
            let w = numbers(n * k, 4);
            let turned = Panels::pack(&[&w], k).transpose();
            let mut row = vec![0.0; n];
            for i in 0..k {
                turned.row(i, &mut row);
                for (o, value) in row.iter().enumerate() {
                    assert_eq!(f64::from(*value), round(w[o * k + i]), "{n}x{k} at {o},{i}");
                }
            }
        }
    }
}
