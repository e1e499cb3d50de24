//! What the products of few and of many rows share: the operands, where K is cut, and the way into `y`.

use super::codes::{GROUP, PANEL, rows};
use super::panels::{Panel, Panels, Steps};
use crate::cpu::kernels::simd::Simd;
use crate::cpu::kernels::{Shared, Start};
use std::ops::Range;

/// Most steps of K that a tile runs over: whole groups, and a widened stretch of half a panel is 20 KB.
pub const STRETCH: usize = 320;
/// Where K is cut: as evenly as groups allow.
pub fn stretch(inputs: usize) -> usize {
    let even = inputs.div_ceil(inputs.div_ceil(STRETCH));
    even.next_multiple_of(GROUP).min(STRETCH)
}

/// One product: `y = start + x · Wᵀ`.
pub struct Job<'a> {
    pub x: &'a [f32],
    pub rows: usize,
    pub w: &'a Panels,
    pub y: Shared<'a>,
    pub start: Start<'a>,
}

/// Some rows of `y`, `width` outputs from `column` on, whose sums over `first..` of K are ready.
pub struct Place<'a> {
    y: *mut f32,
    stride: usize,
    width: usize,
    start: Start<'a>,
}

impl<'a> Place<'a> {
    pub fn new(
        job: &Job<'a>,
        rows: Range<usize>,
        column: usize,
        width: usize,
        first: usize,
    ) -> Self {
        let outputs = job.w.outputs;
        let width = width.min(outputs - column);
        Place {
            y: job.y.at(
                rows.start * outputs + column,
                (rows.len() - 1) * outputs + width,
            ),
            stride: outputs,
            width,
            start: match job.start {
                Start::Bias(b) if first == 0 => Start::Bias(&b[column..column + width]),
                Start::Zero if first == 0 => Start::Zero,
                _ => Start::Keep,
            },
        }
    }

    /// Adds a register of sums to what `y` is to start from.
    ///
    /// # Safety
    /// `row` must be one of the place's, unshared; the processor must have `S`.
    #[inline(always)]
    pub unsafe fn finish<S: Simd>(&self, row: usize, register: usize, sum: S::Floats) {
        let first = register * S::LANES;
        if first >= self.width {
            return;
        }
        let y = self.y.wrapping_add(row * self.stride + first);
        // SAFETY: the place's own; what lies outside its width is masked.
        unsafe {
            if first + S::LANES <= self.width {
                let before = match self.start {
                    Start::Zero => S::splat(0.0),
                    Start::Bias(bias) => S::load(bias.as_ptr().add(first)),
                    Start::Keep => S::load(y),
                };
                S::store(y, S::add(before, sum));
            } else {
                let mask = S::mask(self.width - first);
                let before = match self.start {
                    Start::Zero => S::splat(0.0),
                    Start::Bias(bias) => S::load_masked(bias.as_ptr().add(first), mask),
                    Start::Keep => S::load_masked(y, mask),
                };
                S::store_masked(y, mask, S::add(before, sum));
            }
        }
    }
}

/// Asks for a group's codes and steps.
#[inline(always)]
pub fn prefetch<S: Simd>(panel: &Panel, group: usize) {
    let size = rows(panel.bits);
    for row in panel.rows[group * size..][..size]
        .iter()
        .step_by(64 / PANEL)
    {
        // SAFETY: an address that is there.
        unsafe { S::prefetch(row) }
    }
    // SAFETY: as above.
    unsafe {
        match &panel.steps {
            Steps::Half(pairs) => {
                S::prefetch(&pairs[group].scale);
                S::prefetch(&pairs[group].zero);
            }
            Steps::Full(pairs) => {
                S::prefetch(&pairs[group].scale);
                S::prefetch(&pairs[group].scale[16]);
                S::prefetch(&pairs[group].zero);
                S::prefetch(&pairs[group].zero[16]);
            }
            Steps::Rows(steps) => {
                for step in steps[group * GROUP..][..GROUP].iter().step_by(8) {
                    S::prefetch(step);
                }
            }
        }
    }
}

/// Scale and zero of a group, for `Z` registers of a panel's outputs from `lane` on.
///
/// # Safety
/// Those outputs must be in the panel; the processor must have `S`.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
pub unsafe fn step<S: Simd, const Z: usize>(
    steps: &Steps,
    group: usize,
    lane: usize,
) -> [[S::Floats; Z]; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut step = [[S::splat(0.0); Z]; 2];
        for z in 0..Z {
            let at = lane + z * S::LANES;
            let [scale, zero] = match steps {
                Steps::Full(pairs) => [
                    S::load(pairs[group].scale.as_ptr().add(at)),
                    S::load(pairs[group].zero.as_ptr().add(at)),
                ],
                Steps::Half(pairs) => [
                    S::load_half(pairs[group].scale.as_ptr().add(at)),
                    S::load_half(pairs[group].zero.as_ptr().add(at)),
                ],
                Steps::Rows(_) => unreachable!("a step for each row"),
            };
            (step[0][z], step[1][z]) = (scale, zero);
        }
        step
    }
}
