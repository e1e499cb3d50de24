//! Few rows multiplied with some groups of a panel, straight from the codes: a decoding step reads all weights for
//! a row or two, and a buffer of dequantised ones would cost more than the products.

use super::codes::{CodeFormat, GROUP_PAIRS};
use super::dequantise::{EvenOdd, Sink, each_pair, rounded, rounded_floats};
use super::panels::PairVector;
use super::tile::OutputTile;
use super::tile::x86::{Sums, finish};
use std::arch::x86_64::*;

/// Most rows of a small batch: their sums fit the registers beside all that dequantising needs.
pub const SMALL_BATCH_ROWS: usize = 8;

/// Multiplies `x[pairs][rows]`. The sums have the bits of `vdpbf16ps` in [`super::tile`].
///
/// # Safety
/// `out` must be valid for those rows, and unshared; the processor must have AVX512_BF16.
pub unsafe fn by_pairs(
    format: CodeFormat,
    vectors: &[PairVector],
    x: &[u32],
    rows: usize,
    out: &OutputTile,
) {
    // SAFETY: handed on to the caller.
    unsafe {
        match rows {
            1 => run(format, vectors, Pairs::<1>::new(x), out),
            2 => run(format, vectors, Pairs::<2>::new(x), out),
            3 => run(format, vectors, Pairs::<3>::new(x), out),
            4 => run(format, vectors, Pairs::<4>::new(x), out),
            5 => run(format, vectors, Pairs::<5>::new(x), out),
            6 => run(format, vectors, Pairs::<6>::new(x), out),
            7 => run(format, vectors, Pairs::<7>::new(x), out),
            SMALL_BATCH_ROWS => run(format, vectors, Pairs::<SMALL_BATCH_ROWS>::new(x), out),
            _ => unreachable!("not a small batch"),
        }
    }
}

/// Multiplies `x[inputs][rows]`. The sums have the bits of AMX ([`super::amx`]), except for sums so small that AMX
/// takes them as 0.
///
/// # Safety
/// As [`by_pairs`].
pub unsafe fn by_even_and_odd(
    format: CodeFormat,
    vectors: &[PairVector],
    x: &[f32],
    rows: usize,
    out: &OutputTile,
) {
    // SAFETY: handed on to the caller.
    unsafe {
        match rows {
            1 => run(format, vectors, Floats::<1>::new(x), out),
            2 => run(format, vectors, Floats::<2>::new(x), out),
            3 => run(format, vectors, Floats::<3>::new(x), out),
            4 => run(format, vectors, Floats::<4>::new(x), out),
            _ => unreachable!("not few rows"),
        }
    }
}

/// The sums of R rows, group by group.
trait Product<const R: usize>: Sink {
    /// Groups that x has.
    fn groups(&self) -> usize;

    /// Moves on to the next group.
    ///
    /// # Safety
    /// A group's pairs must have been taken; the processor must have AVX512_BF16.
    unsafe fn end_group(&mut self);

    fn sums(&self) -> &Sums<R>;
}

/// # Safety
/// As [`by_pairs`], for `R` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,f16c")]
unsafe fn run<const R: usize, P: Product<R>>(
    format: CodeFormat,
    vectors: &[PairVector],
    mut product: P,
    out: &OutputTile,
) {
    assert_eq!(vectors.len(), product.groups() * format.size());
    for group in 0..vectors.len() / format.size() {
        // SAFETY: the vectors of every group, and x's rows for it (checked above).
        unsafe {
            let vectors = vectors.as_ptr().add(group * format.size());
            each_pair(format, vectors, &mut product);
            product.end_group();
        }
    }
    // SAFETY: the caller's output tile.
    unsafe { finish(product.sums(), out) }
}

struct Pairs<'a, const R: usize> {
    /// `[pairs][R]`, from the group on.
    x: &'a [u32],
    sums: Sums<R>,
}

impl<'a, const R: usize> Pairs<'a, R> {
    fn new(x: &'a [u32]) -> Self {
        // SAFETY: zeros are numbers.
        let sums = unsafe { std::mem::zeroed() };
        Pairs { x, sums }
    }
}

impl<const R: usize> Sink for Pairs<'_, R> {
    #[inline(always)]
    // Plain indices: an adaptor's closures are not compiled for the instruction set.
    #[allow(clippy::needless_range_loop)]
    unsafe fn take(&mut self, pair: usize, low: EvenOdd, high: EvenOdd) {
        // SAFETY: x has R rows for every pair of the group; the same bits.
        unsafe {
            let low: __m512bh = std::mem::transmute(rounded(low));
            let high: __m512bh = std::mem::transmute(rounded(high));
            for r in 0..R {
                let x = self.x.as_ptr().add(pair * R + r).read();
                let both: __m512bh = std::mem::transmute(_mm512_set1_epi32(x as i32));
                self.sums[r][0] = _mm512_dpbf16_ps(self.sums[r][0], both, low);
                self.sums[r][1] = _mm512_dpbf16_ps(self.sums[r][1], both, high);
            }
        }
    }
}

impl<const R: usize> Product<R> for Pairs<'_, R> {
    fn groups(&self) -> usize {
        self.x.len() / (GROUP_PAIRS * R)
    }

    #[inline(always)]
    unsafe fn end_group(&mut self) {
        self.x = &self.x[GROUP_PAIRS * R..];
    }

    fn sums(&self) -> &Sums<R> {
        &self.sums
    }
}

struct Floats<'a, const R: usize> {
    /// `[inputs][R]`, from the group on.
    x: &'a [f32],
    /// Of this group: the products of the even inputs, and of the odd ones.
    group: [Sums<R>; 2],
    sums: Sums<R>,
}

impl<'a, const R: usize> Floats<'a, R> {
    fn new(x: &'a [f32]) -> Self {
        // SAFETY: zeros are numbers.
        let (group, sums) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Floats { x, group, sums }
    }
}

impl<const R: usize> Sink for Floats<'_, R> {
    #[inline(always)]
    // As above.
    #[allow(clippy::needless_range_loop)]
    unsafe fn take(&mut self, pair: usize, low: EvenOdd, high: EvenOdd) {
        // SAFETY: x has R rows for both inputs of every pair of the group.
        unsafe {
            for second in 0..2 {
                let [low, high] = [rounded_floats(low[second]), rounded_floats(high[second])];
                for r in 0..R {
                    let x = self.x.as_ptr().add((2 * pair + second) * R + r).read();
                    let (x, sums) = (_mm512_set1_ps(x), &mut self.group[second][r]);
                    sums[0] = _mm512_fmadd_ps(x, low, sums[0]);
                    sums[1] = _mm512_fmadd_ps(x, high, sums[1]);
                }
            }
        }
    }
}

impl<const R: usize> Product<R> for Floats<'_, R> {
    fn groups(&self) -> usize {
        self.x.len() / (2 * GROUP_PAIRS * R)
    }

    #[inline(always)]
    // As above.
    #[allow(clippy::needless_range_loop)]
    unsafe fn end_group(&mut self) {
        self.x = &self.x[2 * GROUP_PAIRS * R..];
        // SAFETY: the caller has the processor.
        unsafe {
            for r in 0..R {
                for half in 0..2 {
                    let both = _mm512_add_ps(self.group[0][r][half], self.group[1][r][half]);
                    self.sums[r][half] = _mm512_add_ps(self.sums[r][half], both);
                    self.group[0][r][half] = _mm512_setzero_ps();
                    self.group[1][r][half] = _mm512_setzero_ps();
                }
            }
        }
    }

    fn sums(&self) -> &Sums<R> {
        &self.sums
    }
}
