//! The product of a large batch: a block of K of half a panel is dequantised into a buffer, and the rows run
//! over the buffer in tiles.

use super::codes::{Bytes, GROUP, NO_BYTES, PANEL, unpack_into};
use super::job::{Job, K_BLOCK, OutputTile, k_block, load_scales, prefetch};
use super::panels::{Panel, Scales};
use crate::cpu::kernels::simd::{Simd, dispatch};
use std::cell::RefCell;
use std::ops::Range;

/// Rows that run over one block of K before the next is dequantised: their share of x stays in the
/// second-level cache.
const CHUNK: usize = 192;

/// Steps of K taken at once: their addresses differ by a constant.
const UNROLL: usize = 4;

/// A cache line, so that no register's load from the buffer crosses two.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct CacheLine(#[allow(dead_code, reason = "written and read as floats")] [f32; 16]);

/// The codes of a block of K of a panel.
type BlockCodes = [Bytes; K_BLOCK / GROUP];

thread_local! {
    static BUFFER: RefCell<Vec<CacheLine>> = RefCell::default();
}

/// A block of K of one panel, `2 · LANES` outputs from `lane` on.
struct Part {
    panel: usize,
    lane: usize,
    first: usize,
    depth: usize,
}

/// Some panels against all rows of the job.
///
/// # Safety
/// No other task may touch these panels' outputs; the processor must have `S`.
#[inline(always)]
pub unsafe fn multiply<S: Simd>(job: &Job, panels: Range<usize>) {
    // Taken out, not borrowed in a closure, which would not be compiled for the instruction set.
    let mut buffer = BUFFER.take();
    buffer.resize(K_BLOCK * PANEL / 16, CacheLine([0.0; 16]));
    let mut bytes = [NO_BYTES; K_BLOCK / GROUP];
    let weights = buffer.as_mut_ptr().cast::<f32>();
    let (inputs, k_block) = (job.w.inputs, k_block(job.w.inputs));
    for first_row in (0..job.rows).step_by(CHUNK) {
        let rows = first_row..(first_row + CHUNK).min(job.rows);
        for first in (0..inputs).step_by(k_block) {
            let depth = k_block.min(inputs - first);
            for panel in panels.clone() {
                let groups = first / GROUP..(first + depth).div_ceil(GROUP);
                // SAFETY: handed on to the caller.
                unsafe { unpack_part::<S>(&job.w.panels[panel..], groups, &mut bytes) };
                for lane in (0..PANEL).step_by(2 * S::LANES) {
                    if panel * PANEL + lane >= job.w.outputs {
                        break;
                    }
                    let part = Part {
                        panel,
                        lane,
                        first,
                        depth,
                    };
                    // SAFETY: handed on to the caller; the buffer holds a block of K of a whole panel.
                    unsafe {
                        dequantise::<S>(&job.w.panels[panel], &bytes, &part, weights);
                        tiles::<S>(job, &part, rows.clone(), weights);
                    }
                }
            }
        }
    }
    BUFFER.set(buffer);
}

/// Unpacks the codes of a block of K of the first panel, and prefetches those of the next panel.
#[inline(always)]
unsafe fn unpack_part<S: Simd>(panels: &[Panel], groups: Range<usize>, bytes: &mut BlockCodes) {
    for (bytes, group) in bytes.iter_mut().zip(groups) {
        let rows = panels[0].group(group);
        if let Some(next) = panels.get(1) {
            prefetch::<S>(next, group);
        }
        unpack_into(rows, panels[0].bits, bytes);
    }
}

/// Dequantises a part to f32, `[depth][2 · LANES]`, its last group in full.
///
/// # Safety
/// `out` must hold a block; the processor must have `S`.
#[inline(always)]
unsafe fn dequantise<S: Simd>(panel: &Panel, bytes: &BlockCodes, part: &Part, out: *mut f32) {
    assert!(part.lane + 2 * S::LANES <= PANEL);
    for (nth, k) in (0..part.depth).step_by(GROUP).enumerate() {
        let group = part.first / GROUP + nth;
        let codes = &bytes[nth];
        // SAFETY: the codes have the lanes (checked above), `out` the block.
        unsafe {
            let codes = codes[0].0.as_ptr().add(part.lane);
            let out = out.add(k * 2 * S::LANES);
            if let Scales::PerRow(scales) = &panel.scales {
                for (k, scale) in scales[group * GROUP..][..GROUP].iter().enumerate() {
                    let scale = [[S::splat(scale[0]); 2], [S::splat(scale[1]); 2]];
                    dequantise_row::<S>(codes, out, k, scale);
                }
            } else {
                let scales = load_scales::<S, 2>(&panel.scales, group, part.lane);
                for k in 0..GROUP {
                    dequantise_row::<S>(codes, out, k, scales);
                }
            }
        }
    }
}

/// # Safety
/// `codes` must have a row `k`, `out` one of a part; the processor must have `S`.
#[inline(always)]
unsafe fn dequantise_row<S: Simd>(
    codes: *const u8,
    out: *mut f32,
    k: usize,
    scales: [[S::Floats; 2]; 2],
) {
    let [scale, zero] = scales;
    // SAFETY: the caller's promise.
    unsafe {
        let (from, to) = (codes.add(k * PANEL), out.add(k * 2 * S::LANES));
        let high = S::load_u8(from.add(S::LANES));
        S::store(to, S::fma(S::load_u8(from), scale[0], zero[0]));
        S::store(to.add(S::LANES), S::fma(high, scale[1], zero[1]));
    }
}

/// # Safety
/// As [`multiply`]; `weights` must hold the part.
#[inline(always)]
unsafe fn tiles<S: Simd>(job: &Job, part: &Part, rows: Range<usize>, weights: *const f32) {
    let inputs = job.w.inputs;
    let column = part.panel * PANEL + part.lane;
    let blocks = rows.len().div_ceil(S::ROWS);
    for b in 0..blocks {
        // As even as possible: a block of one row would waste most of its loads.
        let block =
            rows.start + rows.len() * b / blocks..rows.start + rows.len() * (b + 1) / blocks;
        let high = block.len();
        let from = block.start * inputs + part.first;
        let x = &job.x[from..from + (high - 1) * inputs + part.depth];
        let tile = &Tile {
            x: x.as_ptr(),
            stride: inputs,
            w: weights,
            depth: part.depth,
            out: OutputTile::new(job, block, column, 2 * S::LANES, part.first),
        };
        // SAFETY: x was just checked to hold the tile, as the output tile was; `weights` holds the block,
        // and the outputs are the caller's own.
        unsafe { compute(tile, high) }
    }
}

/// # Safety
/// As [`sums`], for a tile of `rows` rows, 1 to 10.
unsafe fn compute(tile: &Tile, rows: usize) {
    // SAFETY: `dispatch` calls what the processor has; the rest is the caller's promise.
    unsafe {
        match rows {
            1 => dispatch!(sums::<1>(tile: &Tile)),
            2 => dispatch!(sums::<2>(tile: &Tile)),
            3 => dispatch!(sums::<3>(tile: &Tile)),
            4 => dispatch!(sums::<4>(tile: &Tile)),
            5 => dispatch!(sums::<5>(tile: &Tile)),
            6 => dispatch!(sums::<6>(tile: &Tile)),
            7 => dispatch!(sums::<7>(tile: &Tile)),
            8 => dispatch!(sums::<8>(tile: &Tile)),
            9 => dispatch!(sums::<9>(tile: &Tile)),
            _ => dispatch!(sums::<10>(tile: &Tile)),
        }
    }
}

struct Tile<'a> {
    x: *const f32,
    stride: usize,
    w: *const f32,
    depth: usize,
    out: OutputTile<'a>,
}

impl Tile<'_> {
    /// Row `r` of x from `k` on. Three rows share a base register, to which the address adds one or two strides:
    /// there are not enough registers for one a row.
    #[inline(always)]
    fn row(&self, r: usize, k: usize) -> *const f32 {
        let base = self.x.wrapping_add(k).wrapping_add(r / 3 * 3 * self.stride);
        base.wrapping_add(r % 3 * self.stride)
    }

    /// Adds the products of step `k` of K; `x` points at the rows' values of that step.
    ///
    /// # Safety
    /// As [`sums`].
    #[inline(always)]
    unsafe fn add<S: Simd, const R: usize>(
        &self,
        sums: &mut [[S::Floats; 2]; R],
        k: usize,
        x: [*const f32; R],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let w = self.w.add(k * 2 * S::LANES);
            let (low, high) = (S::load(w), S::load(w.add(S::LANES)));
            for r in 0..R {
                let value = S::splat(*x[r]);
                sums[r][0] = S::fma(value, low, sums[r][0]);
                sums[r][1] = S::fma(value, high, sums[r][1]);
            }
        }
    }
}

/// `R` rows × two registers.
///
/// # Safety
/// `x`, `w` and `out` must hold the tile, `out` unshared; the processor must have `S`.
#[inline(always)]
unsafe fn sums<S: Simd, const R: usize>(tile: &Tile) {
    // SAFETY: inside the tile the caller vouches for.
    unsafe {
        let mut sums = [[S::splat(0.0); 2]; R];
        let mut k = 0;
        while k + UNROLL <= tile.depth {
            let x: [*const f32; R] = std::array::from_fn(|r| tile.row(r, k));
            for u in 0..UNROLL {
                tile.add::<S, R>(&mut sums, k + u, x.map(|x| x.wrapping_add(u)));
            }
            k += UNROLL;
        }
        while k < tile.depth {
            tile.add::<S, R>(&mut sums, k, std::array::from_fn(|r| tile.row(r, k)));
            k += 1;
        }
        for (r, sums) in sums.iter().enumerate() {
            for (z, sum) in sums.iter().enumerate() {
                tile.out.finish::<S>(r, z, *sum);
            }
        }
    }
}
