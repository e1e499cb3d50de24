//! Codes made bf16 in registers, and what becomes of them there: lines in a buffer, or the sums of few rows.

use super::codes::{Form, GROUP_LINES, GROUP_PAIRS};
use super::panels::Line;
use super::tile::Place;
use super::tile::x86::{Sums, finish};
use std::arch::x86_64::*;

/// Rows whose sums, and all that widening needs, fit the registers.
pub const FEW: usize = 8;
/// Lines that are asked for ahead of their turn: 6 KB.
const AHEAD: usize = 100;

/// Takes the two lines of pair after pair of a group.
trait Sink {
    /// # Safety
    /// The pair must be of the group; the processor must have AVX512_BF16.
    unsafe fn take(&mut self, pair: usize, low: __m512i, high: __m512i);
}

/// The lines of a group.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,f16c")]
pub fn widen(form: Form, codes: &[Line], lines: &mut [Line; GROUP_LINES]) {
    let mut sink = Lines(lines.as_mut_ptr().cast());
    assert_eq!(codes.len(), form.size());
    // SAFETY: a group's lines (just checked), and the sink has room for them widened.
    unsafe { each_pair(form, codes.as_ptr(), &mut sink) }
}

struct Lines(*mut __m512i);

impl Sink for Lines {
    #[inline(always)]
    unsafe fn take(&mut self, pair: usize, low: __m512i, high: __m512i) {
        // SAFETY: the caller's pair is one of the lines'.
        unsafe {
            _mm512_store_si512(self.0.add(2 * pair), low);
            _mm512_store_si512(self.0.add(2 * pair + 1), high);
        }
    }
}

/// `x[pairs][rows]` against some groups of a panel, without a buffer: the sums of [`super::tile::Tile`].
///
/// # Safety
/// The place must be valid for those rows, and unshared; at most [`FEW`] rows; the processor must have
/// AVX512_BF16.
pub unsafe fn few(form: Form, lines: &[Line], x: &[u32], rows: usize, place: &Place) {
    // SAFETY: handed on to the caller.
    unsafe {
        match rows {
            1 => run::<1>(form, lines, x, place),
            2 => run::<2>(form, lines, x, place),
            3 => run::<3>(form, lines, x, place),
            4 => run::<4>(form, lines, x, place),
            5 => run::<5>(form, lines, x, place),
            6 => run::<6>(form, lines, x, place),
            7 => run::<7>(form, lines, x, place),
            _ => run::<FEW>(form, lines, x, place),
        }
    }
}

struct Products<const R: usize> {
    x: *const u32,
    sums: Sums<R>,
}

impl<const R: usize> Sink for Products<R> {
    #[inline(always)]
    // Plain indices: an adaptor's closures are not compiled for the instruction set.
    #[allow(clippy::needless_range_loop)]
    unsafe fn take(&mut self, pair: usize, low: __m512i, high: __m512i) {
        // SAFETY: x has R rows for every pair of the group.
        unsafe {
            let (low, high): (__m512bh, __m512bh) = std::mem::transmute((low, high));
            for r in 0..R {
                let x = self.x.add(pair * R + r).read();
                let both: __m512bh = std::mem::transmute(_mm512_set1_epi32(x as i32));
                self.sums[r][0] = _mm512_dpbf16_ps(self.sums[r][0], both, low);
                self.sums[r][1] = _mm512_dpbf16_ps(self.sums[r][1], both, high);
            }
        }
    }
}

/// # Safety
/// As [`few`], for `R` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,f16c")]
unsafe fn run<const R: usize>(form: Form, lines: &[Line], x: &[u32], place: &Place) {
    let groups = lines.len() / form.size();
    assert!(x.len() == groups * GROUP_PAIRS * R && lines.len() == groups * form.size());
    let mut sink = Products::<R> {
        x: x.as_ptr(),
        sums: [[_mm512_setzero_ps(); 2]; R],
    };
    for group in 0..groups {
        // SAFETY: the lines of every group, and x's rows for it (checked above).
        unsafe {
            each_pair(form, lines.as_ptr().add(group * form.size()), &mut sink);
            sink.x = sink.x.add(GROUP_PAIRS * R);
        }
    }
    // SAFETY: the caller's place.
    unsafe { finish(&sink.sums, place) }
}

/// Scale and zero of each of 16 outputs, for both halves of a panel.
type Step = [[__m512; 2]; 2];

/// # Safety
/// `group` must be a group's lines, the sink for a group; the processor must have AVX512_BF16.
#[inline(always)]
// Plain indices: an adaptor's closures are not compiled for the instruction set.
#[allow(clippy::needless_range_loop)]
unsafe fn each_pair<S: Sink>(form: Form, group: *const Line, sink: &mut S) {
    // SAFETY: the caller's lines; what is only asked for need not be there.
    unsafe {
        for i in 0..form.size() {
            _mm_prefetch::<_MM_HINT_T0>(group.wrapping_add(AHEAD + i).cast());
        }
        let step = step(form, group);
        let lines = group.add(2 * form.steps());
        let tops: *const u16 = lines.add(form.codes()).cast();
        let few = numbers();
        // The zeros of codes whose fifth bit is set.
        let sixteen = _mm512_set1_ps(16.0);
        let more = [
            _mm512_fmadd_ps(sixteen, step[0][0], step[0][1]),
            _mm512_fmadd_ps(sixteen, step[1][0], step[1][1]),
        ];
        match form.bits {
            8 => {
                for pair in 0..GROUP_PAIRS {
                    let [a, b, c, d] = line_codes(lines.add(pair));
                    let [a, b, c, d] = [a, b, c, d].map(|codes| _mm512_cvtepi32_ps(codes));
                    sink.take(pair, line(a, b, &step[0]), line(c, d, &step[1]));
                }
            }
            5 => {
                for two in 0..GROUP_PAIRS / 2 {
                    let mut codes = line_codes(lines.add(two));
                    for pair in [2 * two, 2 * two + 1] {
                        let mut values = [few; 4];
                        for i in 0..4 {
                            let [scale, zero] = step[i / 2];
                            let top = *tops.add(4 * pair + i);
                            let zero = _mm512_mask_mov_ps(zero, top, more[i / 2]);
                            // The lower four bits of a code alone choose.
                            let low = _mm512_permutexvar_ps(codes[i], few);
                            values[i] = _mm512_fmadd_ps(low, scale, zero);
                            codes[i] = _mm512_srli_epi32::<4>(codes[i]);
                        }
                        let [a, b, c, d] = values;
                        sink.take(pair, rounded(a, b), rounded(c, d));
                    }
                }
            }
            _ => {
                for two in 0..GROUP_PAIRS / 2 {
                    let mut codes = line_codes(lines.add(two));
                    for pair in [2 * two, 2 * two + 1] {
                        let mut values = [few; 4];
                        for i in 0..4 {
                            // As above.
                            values[i] = _mm512_permutexvar_ps(codes[i], few);
                            codes[i] = _mm512_srli_epi32::<4>(codes[i]);
                        }
                        let [a, b, c, d] = values;
                        sink.take(pair, line(a, b, &step[0]), line(c, d, &step[1]));
                    }
                }
            }
        }
    }
}

/// The bytes of a line of codes, four times sixteen.
#[inline(always)]
unsafe fn line_codes(line: *const Line) -> [__m512i; 4] {
    // SAFETY: the caller's line; the caller has the processor.
    unsafe {
        let at: *const __m128i = line.cast();
        [
            _mm512_cvtepu8_epi32(_mm_load_si128(at)),
            _mm512_cvtepu8_epi32(_mm_load_si128(at.add(1))),
            _mm512_cvtepu8_epi32(_mm_load_si128(at.add(2))),
            _mm512_cvtepu8_epi32(_mm_load_si128(at.add(3))),
        ]
    }
}

/// A line: the codes of even and of odd inputs for 16 outputs, on their steps.
#[inline(always)]
unsafe fn line(even: __m512, odd: __m512, [scale, zero]: &[__m512; 2]) -> __m512i {
    // SAFETY: the caller has the processor.
    unsafe {
        rounded(
            _mm512_fmadd_ps(even, *scale, *zero),
            _mm512_fmadd_ps(odd, *scale, *zero),
        )
    }
}

/// A line of weights rounded to bf16, halves away from 0: cheaper than the instruction that rounds to even.
#[inline(always)]
unsafe fn rounded(even: __m512, odd: __m512) -> __m512i {
    // SAFETY: the caller has the processor.
    unsafe {
        let half = _mm512_set1_epi32(0x8000);
        let even = _mm512_add_epi32(_mm512_castps_si512(even), half);
        let odd = _mm512_add_epi32(_mm512_castps_si512(odd), half);
        _mm512_mask_mov_epi16(_mm512_srli_epi32::<16>(even), 0xaaaa_aaaa, odd)
    }
}

/// The numbers from 0 to 15.
#[inline(always)]
unsafe fn numbers() -> __m512 {
    // SAFETY: the caller has the processor.
    unsafe {
        _mm512_setr_ps(
            0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0,
        )
    }
}

#[inline(always)]
unsafe fn step(form: Form, group: *const Line) -> Step {
    // SAFETY: the caller's lines begin with a panel's 32 scales and 32 zeros; the caller has the processor.
    unsafe {
        let mut step = [[_mm512_setzero_ps(); 2]; 2];
        for (half, step) in step.iter_mut().enumerate() {
            for (nth, step) in step.iter_mut().enumerate() {
                *step = match form.short {
                    true => {
                        let at: *const __m256i = group.add(nth).cast();
                        _mm512_cvtph_ps(_mm256_load_si256(at.add(half)))
                    }
                    false => _mm512_load_ps(group.add(2 * nth + half).cast()),
                };
            }
        }
        step
    }
}
