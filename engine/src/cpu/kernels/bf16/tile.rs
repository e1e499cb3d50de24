//! The tile of the product: sums of up to 12 rows × 32 outputs held in registers.

use super::available;
use super::panels::Line;
use crate::cpu::kernels::Start;

/// Up to 12 rows × 32 outputs over one stretch of K.
pub(super) struct Tile<'a> {
    pub(super) x: &'a [u32],
    pub(super) lines: &'a [Line],
    pub(super) y: *mut f32,
    pub(super) stride: usize,
    pub(super) width: usize,
    pub(super) start: Start<'a>,
}

impl Tile<'_> {
    /// # Safety
    /// `y` must be valid for `rows` rows of `width` elements, `stride` apart, and unshared.
    pub(super) unsafe fn run(&self, rows: usize) {
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
    use super::{Line, Start, Tile};
    use std::arch::x86_64::*;

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
