//! The tile of the product: the sums of a block of rows × 32 outputs, held in registers.

use super::activations::RowsPart;
use super::amx::Registers;
use super::panels::PairVector;
#[cfg(target_arch = "x86_64")]
use crate::cpu::kernels::has_amx_bf16;
use crate::cpu::kernels::{Init, has_avx512_bf16};

/// A block of rows × 32 outputs over one block of K.
pub(super) struct Tile<'a> {
    pub x: RowsPart<'a>,
    /// `[pairs][2]`
    pub weights: &'a [PairVector],
    pub out: OutputTile<'a>,
}

/// Where a tile's sums go: `width` outputs of some rows of y.
pub(super) struct OutputTile<'a> {
    pub y: *mut f32,
    pub stride: usize,
    pub width: usize,
    pub init: Init<'a>,
}

impl Tile<'_> {
    /// # Safety
    /// `out` must be valid for the tile's rows, `stride` apart, and unshared. No other `Registers` of this thread may
    /// have been used and still live.
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
    pub unsafe fn run(&self, registers: &mut Registers) {
        assert_eq!(self.x.length * 2, self.weights.len());
        #[cfg(target_arch = "x86_64")]
        if has_amx_bf16() {
            // SAFETY: the processor has the features; the rest is the caller's promise.
            return unsafe { x86::finish_sums(registers.multiply(&self.x, self.weights), self) };
        }
        #[cfg(target_arch = "x86_64")]
        if has_avx512_bf16() {
            // SAFETY: as above.
            return unsafe { x86::dispatch(self) };
        }
        let (rows, out) = (self.x.rows, &self.out);
        for r in 0..rows {
            for c in 0..out.width {
                let mut sum = 0.0f32;
                for (k, vector) in self.weights.chunks_exact(2).enumerate() {
                    let (a, b) = (self.x.pairs[k * rows + r], vector[c / 16].0[c % 16]);
                    sum += f32::from_bits(a << 16) * f32::from_bits(b << 16);
                    sum += f32::from_bits(a & 0xffff_0000) * f32::from_bits(b & 0xffff_0000);
                }
                // SAFETY: inside the tile the caller vouches for.
                let y = unsafe { &mut *out.y.add(r * out.stride + c) };
                *y = sum
                    + match out.init {
                        Init::Zero => 0.0,
                        Init::Bias(bias) => bias[c],
                        Init::Accumulate => *y,
                    };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use super::{Init, OutputTile, PairVector, Tile};
    use crate::cpu::kernels::bf16::amx;
    use std::arch::x86_64::*;

    /// Distance of the prefetch of weights, in vectors: 4 KB.
    const AHEAD: usize = 64;
    /// Distance of the prefetch of x, in pairs.
    const AHEAD_X: usize = 256;

    /// The sums of R rows × 32 outputs.
    pub type Sums<const R: usize> = [[__m512; 2]; R];

    /// # Safety
    /// As [`Tile::run`]; the processor must have AVX512_BF16.
    pub unsafe fn dispatch(tile: &Tile) {
        // SAFETY: handed on to the caller.
        unsafe {
            match tile.x.rows {
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
        assert_eq!(tile.x.pairs.len() * 2, tile.weights.len() * R);
        let mut sums: Sums<R> = [[_mm512_setzero_ps(); 2]; R];
        let (mut x, mut w) = (tile.x.pairs.as_ptr(), tile.weights.as_ptr());
        for _ in 0..tile.weights.len() / 2 {
            // SAFETY: the assertions: R pairs of x for every two vectors.
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
        // SAFETY: the caller's output tile.
        unsafe { finish(&sums, &tile.out) }
    }

    /// Adds the sums to the initial values of `out`, and stores them.
    ///
    /// # Safety
    /// `out` must be valid for R rows, and unshared.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn finish<const R: usize>(sums: &Sums<R>, out: &OutputTile) {
        for (r, sums) in sums.iter().enumerate() {
            // SAFETY: handed on to the caller.
            unsafe { finish_row(sums, r, out) }
        }
    }

    /// [`finish`] of the sums that tile registers stored.
    ///
    /// # Safety
    /// As [`Tile::run`]; the processor must have AVX-512.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn finish_sums(sums: &amx::Sums, tile: &Tile) {
        for (r, sums) in sums.0[..tile.x.rows].iter().enumerate() {
            // SAFETY: a row of sums is two vectors; the caller's output tile.
            unsafe {
                let sums = [
                    _mm512_loadu_ps(sums.as_ptr()),
                    _mm512_loadu_ps(sums[16..].as_ptr()),
                ];
                finish_row(&sums, r, &tile.out);
            }
        }
    }

    /// [`finish`] of row `r` of the output tile.
    ///
    /// # Safety
    /// `out` must be valid for that row, and unshared.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn finish_row(sums: &[__m512; 2], r: usize, out: &OutputTile) {
        let full = (1u64 << out.width) - 1;
        let masks = [full as u16, (full >> 16) as u16];
        for (half, (sum, mask)) in sums.iter().zip(masks).enumerate() {
            // SAFETY: masked to the `width` outputs the caller vouches for; the bias has as many.
            unsafe {
                let y = out.y.wrapping_add(r * out.stride + half * 16);
                let before = match out.init {
                    Init::Zero => _mm512_setzero_ps(),
                    Init::Bias(bias) => {
                        _mm512_maskz_loadu_ps(mask, bias.as_ptr().wrapping_add(half * 16))
                    }
                    Init::Accumulate => _mm512_maskz_loadu_ps(mask, y),
                };
                _mm512_mask_storeu_ps(y, mask, _mm512_add_ps(before, *sum));
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn load(vector: *const PairVector) -> __m512i {
        // SAFETY: the caller's pointer is into the panel, and vectors are aligned.
        unsafe { _mm512_load_si512(vector.cast()) }
    }
}
