//! What the products of small and of large batches share: the operands, the blocks of K, and the writing of `y`.

use super::codes::{GROUP, PANEL, rows};
use super::panels::{Panel, Panels, Scales};
use crate::cpu::kernels::simd::Simd;
use crate::cpu::kernels::{Init, SharedMut};
use std::ops::Range;

/// Most steps of a block of K: whole groups; a dequantised block of half a panel is 20 KB.
pub const K_BLOCK: usize = 320;

/// Scales of a block of K: as even as whole groups allow.
pub fn k_block(inputs: usize) -> usize {
    let even = inputs.div_ceil(inputs.div_ceil(K_BLOCK));
    even.next_multiple_of(GROUP).min(K_BLOCK)
}

/// One product: `y = init + x · Wᵀ`.
pub struct Job<'a> {
    pub x: &'a [f32],
    pub rows: usize,
    pub w: &'a Panels,
    pub y: SharedMut<'a>,
    pub init: Init<'a>,
}

/// Where a tile's sums go: `width` outputs of some rows of `y`.
pub struct OutputTile<'a> {
    y: *mut f32,
    stride: usize,
    width: usize,
    init: Init<'a>,
}

impl<'a> OutputTile<'a> {
    /// The tile of `rows` and up to `width` outputs from `column` on, for sums over K from `first` on.
    pub fn new(
        job: &Job<'a>,
        rows: Range<usize>,
        column: usize,
        width: usize,
        first: usize,
    ) -> Self {
        let outputs = job.w.outputs;
        let width = width.min(outputs - column);
        OutputTile {
            y: job.y.at(
                rows.start * outputs + column,
                (rows.len() - 1) * outputs + width,
            ),
            stride: outputs,
            width,
            init: match job.init {
                Init::Bias(b) if first == 0 => Init::Bias(&b[column..column + width]),
                Init::Zero if first == 0 => Init::Zero,
                _ => Init::Accumulate,
            },
        }
    }

    /// Adds a register of sums to the initial values, and stores the result.
    ///
    /// # Safety
    /// `row` must be one of the tile's, unshared; the processor must have `S`.
    #[inline(always)]
    pub unsafe fn finish<S: Simd>(&self, row: usize, register: usize, sum: S::Floats) {
        let first = register * S::LANES;
        if first >= self.width {
            return;
        }
        let y = self.y.wrapping_add(row * self.stride + first);
        // SAFETY: inside the tile; what lies outside its width is masked.
        unsafe {
            if first + S::LANES <= self.width {
                let before = match self.init {
                    Init::Zero => S::splat(0.0),
                    Init::Bias(bias) => S::load(bias.as_ptr().add(first)),
                    Init::Accumulate => S::load(y),
                };
                S::store(y, S::add(before, sum));
            } else {
                let mask = S::mask(self.width - first);
                let before = match self.init {
                    Init::Zero => S::splat(0.0),
                    Init::Bias(bias) => S::load_masked(bias.as_ptr().add(first), mask),
                    Init::Accumulate => S::load_masked(y, mask),
                };
                S::store_masked(y, mask, S::add(before, sum));
            }
        }
    }
}

/// Fetches a group's codes and scales ahead of their use.
#[inline(always)]
pub fn prefetch<S: Simd>(panel: &Panel, group: usize) {
    let size = rows(panel.bits);
    for row in panel.rows[group * size..][..size]
        .iter()
        .step_by(64 / PANEL)
    {
        // SAFETY: an address inside the panel.
        unsafe { S::prefetch(row) }
    }
    // SAFETY: as above.
    unsafe {
        match &panel.scales {
            Scales::Half(pairs) => {
                S::prefetch(&pairs[group].scale);
                S::prefetch(&pairs[group].zero);
            }
            Scales::Full(pairs) => {
                S::prefetch(&pairs[group].scale);
                S::prefetch(&pairs[group].scale[16]);
                S::prefetch(&pairs[group].zero);
                S::prefetch(&pairs[group].zero[16]);
            }
            Scales::PerRow(scales) => {
                for scale in scales[group * GROUP..][..GROUP].iter().step_by(8) {
                    S::prefetch(scale);
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
pub unsafe fn load_scales<S: Simd, const Z: usize>(
    scales: &Scales,
    group: usize,
    lane: usize,
) -> [[S::Floats; Z]; 2] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut loaded = [[S::splat(0.0); Z]; 2];
        for z in 0..Z {
            let at = lane + z * S::LANES;
            let [scale, zero] = match scales {
                Scales::Full(pairs) => [
                    S::load(pairs[group].scale.as_ptr().add(at)),
                    S::load(pairs[group].zero.as_ptr().add(at)),
                ],
                Scales::Half(pairs) => [
                    S::load_half(pairs[group].scale.as_ptr().add(at)),
                    S::load_half(pairs[group].zero.as_ptr().add(at)),
                ],
                Scales::PerRow(_) => unreachable!("a scale for each row"),
            };
            (loaded[0][z], loaded[1][z]) = (scale, zero);
        }
        loaded
    }
}
