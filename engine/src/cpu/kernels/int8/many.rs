//! The product of many rows: a stretch of half a panel is widened into a buffer, and the rows run over
//! it in tiles.

use super::codes::{Bytes, GROUP, NO_BYTES, PANEL, unpack_into};
use super::job::{Job, Place, STRETCH, prefetch, step, stretch};
use super::panels::{Panel, Steps};
use crate::cpu::kernels::simd::Simd;
use std::cell::RefCell;
use std::ops::Range;

/// Rows that run over one stretch before the next is widened: their share of x stays in the
/// second-level cache.
const CHUNK: usize = 192;

/// Steps of K whose addresses differ by a constant alone.
const UNROLL: usize = 4;

/// A cache line: a register's load from the buffer never crosses two.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "written and read as floats")] [f32; 16]);

/// The codes of a stretch of a panel.
type Stretch = [Bytes; STRETCH / GROUP];

thread_local! {
    static WIDENED: RefCell<Vec<Line>> = RefCell::default();
}

/// A stretch of K of one panel, `2 · LANES` outputs from `lane` on.
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
    let mut buffer = WIDENED.take();
    buffer.resize(STRETCH * PANEL / 16, Line([0.0; 16]));
    let mut bytes = [NO_BYTES; STRETCH / GROUP];
    let widened = buffer.as_mut_ptr().cast::<f32>();
    let (inputs, stretch) = (job.w.inputs, stretch(job.w.inputs));
    for first_row in (0..job.rows).step_by(CHUNK) {
        let rows = first_row..(first_row + CHUNK).min(job.rows);
        for first in (0..inputs).step_by(stretch) {
            let depth = stretch.min(inputs - first);
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
                    // SAFETY: handed on to the caller; the buffer holds a stretch of a whole panel.
                    unsafe {
                        widen::<S>(&job.w.panels[panel], &bytes, &part, widened);
                        tiles::<S>(job, &part, rows.clone(), widened);
                    }
                }
            }
        }
    }
    WIDENED.set(buffer);
}

/// The codes of a stretch of a panel, as bytes; asks for those of the next.
#[inline(always)]
unsafe fn unpack_part<S: Simd>(panels: &[Panel], groups: Range<usize>, bytes: &mut Stretch) {
    for (bytes, group) in bytes.iter_mut().zip(groups) {
        let rows = panels[0].group(group);
        if let Some(next) = panels.get(1) {
            prefetch::<S>(next, group);
        }
        unpack_into(rows, panels[0].bits, bytes);
    }
}

/// `[depth][2 · LANES]` weights of a part, in f32, and what its last group has beyond.
///
/// # Safety
/// `out` must hold a stretch; the processor must have `S`.
#[inline(always)]
unsafe fn widen<S: Simd>(panel: &Panel, bytes: &Stretch, part: &Part, out: *mut f32) {
    assert!(part.lane + 2 * S::LANES <= PANEL);
    for (nth, k) in (0..part.depth).step_by(GROUP).enumerate() {
        let group = part.first / GROUP + nth;
        let codes = &bytes[nth];
        // SAFETY: the codes have the lanes (checked above), `out` the stretch.
        unsafe {
            let codes = codes[0].0.as_ptr().add(part.lane);
            let out = out.add(k * 2 * S::LANES);
            if let Steps::Rows(steps) = &panel.steps {
                for (k, step) in steps[group * GROUP..][..GROUP].iter().enumerate() {
                    let step = [[S::splat(step[0]); 2], [S::splat(step[1]); 2]];
                    widen_row::<S>(codes, out, k, step);
                }
            } else {
                let step = step::<S, 2>(&panel.steps, group, part.lane);
                for k in 0..GROUP {
                    widen_row::<S>(codes, out, k, step);
                }
            }
        }
    }
}

/// # Safety
/// `codes` must have a row `k`, `out` one of a part; the processor must have `S`.
#[inline(always)]
unsafe fn widen_row<S: Simd>(codes: *const u8, out: *mut f32, k: usize, step: [[S::Floats; 2]; 2]) {
    let [scale, zero] = step;
    // SAFETY: the caller's promise.
    unsafe {
        let (from, to) = (codes.add(k * PANEL), out.add(k * 2 * S::LANES));
        let high = S::widen(from.add(S::LANES));
        S::store(to, S::fma(S::widen(from), scale[0], zero[0]));
        S::store(to.add(S::LANES), S::fma(high, scale[1], zero[1]));
    }
}

/// # Safety
/// As [`multiply`]; `widened` must hold the part.
#[inline(always)]
unsafe fn tiles<S: Simd>(job: &Job, part: &Part, rows: Range<usize>, widened: *const f32) {
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
        let tile = Tile {
            x: x.as_ptr(),
            stride: inputs,
            w: widened,
            depth: part.depth,
            place: Place::new(job, block, column, 2 * S::LANES, part.first),
        };
        // SAFETY: x was just checked to hold the tile, as the place was; `widened` holds the stretch,
        // and the outputs are the caller's own.
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
    stride: usize,
    w: *const f32,
    depth: usize,
    place: Place<'a>,
}

impl Tile<'_> {
    /// Row `r` of x from `k` on. Three rows have one base, which the address itself can add one or two
    /// strides to: a register for each would be more than there are.
    #[inline(always)]
    fn row(&self, r: usize, k: usize) -> *const f32 {
        let base = self.x.wrapping_add(k).wrapping_add(r / 3 * 3 * self.stride);
        base.wrapping_add(r % 3 * self.stride)
    }

    /// Adds the products of step `k` of K, of which `x` points at the rows' values.
    ///
    /// # Safety
    /// As [`Tile::run`].
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

    /// `R` rows × two registers.
    ///
    /// # Safety
    /// `x`, `w` and the place must hold the tile, the place unshared; the processor must have `S`.
    #[inline(always)]
    unsafe fn run<S: Simd, const R: usize>(&self) {
        // SAFETY: inside the tile the caller vouches for.
        unsafe {
            let mut sums = [[S::splat(0.0); 2]; R];
            let mut k = 0;
            while k + UNROLL <= self.depth {
                let x: [*const f32; R] = std::array::from_fn(|r| self.row(r, k));
                for u in 0..UNROLL {
                    self.add::<S, R>(&mut sums, k + u, x.map(|x| x.wrapping_add(u)));
                }
                k += UNROLL;
            }
            while k < self.depth {
                self.add::<S, R>(&mut sums, k, std::array::from_fn(|r| self.row(r, k)));
                k += 1;
            }
            for (r, sums) in sums.iter().enumerate() {
                for (z, sum) in sums.iter().enumerate() {
                    self.place.finish::<S>(r, z, *sum);
                }
            }
        }
    }
}
