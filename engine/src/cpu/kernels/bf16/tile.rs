//! The tile of the product: sums of up to 12 rows × 32 outputs held in registers.

use super::panels::Line;
use crate::cpu::kernels::{Start, has_avx512_bf16};

/// Up to 12 rows × 32 outputs over one stretch of K.
pub(super) struct Tile<'a> {
    /// `[pairs][rows]`
    pub x: &'a [u32],
    pub rows: usize,
    pub lines: &'a [Line],
    pub place: Place<'a>,
}

/// Where a tile's sums belong: `width` outputs of some rows of y.
pub(super) struct Place<'a> {
    pub y: *mut f32,
    pub stride: usize,
    pub width: usize,
    pub start: Start<'a>,
}

impl Tile<'_> {
    /// # Safety
    /// The place must be valid for the tile's rows, `stride` apart, and unshared.
    pub unsafe fn run(&self) {
        #[cfg(target_arch = "x86_64")]
        if has_avx512_bf16() {
            // SAFETY: the processor has the features; the rest is the caller's promise.
            return unsafe { x86::dispatch(self) };
        }
        let (rows, place) = (self.rows, &self.place);
        for r in 0..rows {
            for c in 0..place.width {
                let mut sum = 0.0f32;
                for (k, line) in self.lines.chunks_exact(2).enumerate() {
                    let (a, b) = (self.x[k * rows + r], line[c / 16].0[c % 16]);
                    sum += f32::from_bits(a << 16) * f32::from_bits(b << 16);
                    sum += f32::from_bits(a & 0xffff_0000) * f32::from_bits(b & 0xffff_0000);
                }
                // SAFETY: inside the tile the caller vouches for.
                let y = unsafe { &mut *place.y.add(r * place.stride + c) };
                *y = sum
                    + match place.start {
                        Start::Zero => 0.0,
                        Start::Bias(bias) => bias[c],
                        Start::Keep => *y,
                    };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use super::{Line, Place, Start, Tile};
    use std::arch::x86_64::*;

    /// Lines that are asked for ahead of their turn: 4 KB.
    const AHEAD: usize = 64;
    /// Likewise pairs of x.
    const AHEAD_X: usize = 256;

    /// The sums of R rows × 32 outputs.
    pub type Sums<const R: usize> = [[__m512; 2]; R];

    /// # Safety
    /// As [`Tile::run`]; the processor must have AVX512_BF16.
    pub unsafe fn dispatch(tile: &Tile) {
        // SAFETY: handed on to the caller.
        unsafe {
            match tile.rows {
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
        let mut sums: Sums<R> = [[_mm512_setzero_ps(); 2]; R];
        let (mut x, mut w) = (tile.x.as_ptr(), tile.lines.as_ptr());
        for _ in 0..tile.lines.len() / 2 {
            // SAFETY: the assertion above: R pairs of x for every two lines.
            unsafe {
                let w0: __m512bh = std::mem::transmute(load(w));
                let w1: __m512bh = std::mem::transmute(load(w.add(1)));
                _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add(AHEAD).cast());
                _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add(AHEAD + 1).cast());
                _mm_prefetch::<_MM_HINT_T0>(x.wrapping_add(AHEAD_X).cast());
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
        // SAFETY: the caller's place.
        unsafe { finish(&sums, &tile.place) }
    }

    /// Adds the sums to what their place is to start from.
    ///
    /// # Safety
    /// The place must be valid for R rows, and unshared.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn finish<const R: usize>(sums: &Sums<R>, place: &Place) {
        let full = (1u64 << place.width) - 1;
        let masks = [full as u16, (full >> 16) as u16];
        for (r, sum) in sums.iter().enumerate() {
            for (half, (sum, mask)) in sum.iter().zip(masks).enumerate() {
                // SAFETY: masked to the `width` outputs the caller vouches for; the bias has as many.
                unsafe {
                    let y = place.y.wrapping_add(r * place.stride + half * 16);
                    let before = match place.start {
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
