//! Codes dequantised in registers, to be stored in a buffer or multiplied at once ([`super::small_batch`]).

use super::codes::{CodeFormat, GROUP_PAIRS, GROUP_VECTORS};
use super::panels::PairVector;
use std::arch::x86_64::*;

/// Distance of the prefetch, in vectors: 6 KB.
const AHEAD: usize = 100;

/// The weights of sixteen outputs for the two inputs of a pair, not yet rounded to bf16.
pub type EvenOdd = [__m512; 2];

/// Takes the dequantised weights of a group, those of one pair at a time.
pub trait Sink {
    /// # Safety
    /// The pair must be of the group; the processor must have AVX512_BF16.
    unsafe fn take(&mut self, pair: usize, low: EvenOdd, high: EvenOdd);
}

/// Dequantises one group into `vectors`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,f16c")]
pub fn dequantise(
    format: CodeFormat,
    codes: &[PairVector],
    vectors: &mut [PairVector; GROUP_VECTORS],
) {
    let mut sink = VectorSink(vectors.as_mut_ptr().cast());
    assert_eq!(codes.len(), format.size());
    // SAFETY: a group's vectors (just checked), and the sink has room for the group.
    unsafe { each_pair(format, codes.as_ptr(), &mut sink) }
}

struct VectorSink(*mut __m512i);

impl Sink for VectorSink {
    #[inline(always)]
    unsafe fn take(&mut self, pair: usize, low: EvenOdd, high: EvenOdd) {
        // SAFETY: the caller's pair is one of the buffer's.
        unsafe {
            _mm512_store_si512(self.0.add(2 * pair), rounded(low));
            _mm512_store_si512(self.0.add(2 * pair + 1), rounded(high));
        }
    }
}

/// Scale and zero of each of 16 outputs, for both halves of a panel.
type GroupScales = [[__m512; 2]; 2];

/// # Safety
/// `group` must be a group's vectors, the sink for a group; the processor must have AVX512_BF16.
#[inline(always)]
// Plain indices: an adaptor's closures are not compiled for the instruction set.
#[allow(clippy::needless_range_loop)]
pub unsafe fn each_pair<S: Sink>(format: CodeFormat, group: *const PairVector, sink: &mut S) {
    // SAFETY: the caller's vectors; a prefetched address need not exist.
    unsafe {
        for i in 0..format.size() {
            _mm_prefetch::<_MM_HINT_T0>(group.wrapping_add(AHEAD + i).cast());
        }
        let scales = load_scales(format, group);
        let vectors = group.add(2 * format.scales());
        let high_bits: *const u16 = vectors.add(format.codes()).cast();
        let numbers = numbers();
        // The zeros of codes whose fifth bit is set.
        let sixteen = _mm512_set1_ps(16.0);
        let more = [
            _mm512_fmadd_ps(sixteen, scales[0][0], scales[0][1]),
            _mm512_fmadd_ps(sixteen, scales[1][0], scales[1][1]),
        ];
        match format.bits {
            8 => {
                for pair in 0..GROUP_PAIRS {
                    let [a, b, c, d] = vector_codes(vectors.add(pair));
                    let [a, b, c, d] = [a, b, c, d].map(|codes| _mm512_cvtepi32_ps(codes));
                    sink.take(pair, scaled(a, b, &scales[0]), scaled(c, d, &scales[1]));
                }
            }
            5 => {
                for two in 0..GROUP_PAIRS / 2 {
                    let mut codes = vector_codes(vectors.add(two));
                    for pair in [2 * two, 2 * two + 1] {
                        let mut values = [numbers; 4];
                        for i in 0..4 {
                            let [scale, zero] = scales[i / 2];
                            let top = *high_bits.add(4 * pair + i);
                            let zero = _mm512_mask_mov_ps(zero, top, more[i / 2]);
                            // The permutation reads the lower four bits of a code alone.
                            let low = _mm512_permutexvar_ps(codes[i], numbers);
                            values[i] = _mm512_fmadd_ps(low, scale, zero);
                            codes[i] = _mm512_srli_epi32::<4>(codes[i]);
                        }
                        let [a, b, c, d] = values;
                        sink.take(pair, [a, b], [c, d]);
                    }
                }
            }
            _ => {
                for two in 0..GROUP_PAIRS / 2 {
                    let mut codes = vector_codes(vectors.add(two));
                    for pair in [2 * two, 2 * two + 1] {
                        let mut values = [numbers; 4];
                        for i in 0..4 {
                            // As above.
                            values[i] = _mm512_permutexvar_ps(codes[i], numbers);
                            codes[i] = _mm512_srli_epi32::<4>(codes[i]);
                        }
                        let [a, b, c, d] = values;
                        sink.take(pair, scaled(a, b, &scales[0]), scaled(c, d, &scales[1]));
                    }
                }
            }
        }
    }
}

/// The 64 bytes of a vector of codes, sixteen to a register.
#[inline(always)]
unsafe fn vector_codes(vector: *const PairVector) -> [__m512i; 4] {
    // SAFETY: the caller's vector; the caller has the processor.
    unsafe {
        let at: *const __m128i = vector.cast();
        [
            _mm512_cvtepu8_epi32(_mm_load_si128(at)),
            _mm512_cvtepu8_epi32(_mm_load_si128(at.add(1))),
            _mm512_cvtepu8_epi32(_mm_load_si128(at.add(2))),
            _mm512_cvtepu8_epi32(_mm_load_si128(at.add(3))),
        ]
    }
}

/// The weights of the codes of an even and of an odd input for 16 outputs.
#[inline(always)]
unsafe fn scaled(even: __m512, odd: __m512, [scale, zero]: &[__m512; 2]) -> EvenOdd {
    // SAFETY: the caller has the processor.
    unsafe {
        [
            _mm512_fmadd_ps(even, *scale, *zero),
            _mm512_fmadd_ps(odd, *scale, *zero),
        ]
    }
}

/// Rounds a vector of weights to bf16, ties away from 0: cheaper than the instruction that rounds them to even.
///
/// # Safety
/// The processor must have AVX512BW.
#[inline(always)]
pub unsafe fn rounded(weights: EvenOdd) -> __m512i {
    // SAFETY: the caller has the processor.
    unsafe {
        let half = _mm512_set1_epi32(0x8000);
        let even = _mm512_add_epi32(_mm512_castps_si512(weights[0]), half);
        let odd = _mm512_add_epi32(_mm512_castps_si512(weights[1]), half);
        _mm512_mask_mov_epi16(_mm512_srli_epi32::<16>(even), 0xaaaa_aaaa, odd)
    }
}

/// [`rounded`], as numbers of 32 bits.
///
/// # Safety
/// The processor must have AVX-512.
#[inline(always)]
pub unsafe fn rounded_floats(weights: __m512) -> __m512 {
    // SAFETY: the caller has the processor.
    unsafe {
        let up = _mm512_add_epi32(_mm512_castps_si512(weights), _mm512_set1_epi32(0x8000));
        _mm512_castsi512_ps(_mm512_and_si512(
            up,
            _mm512_set1_epi32(0xffff_0000u32 as i32),
        ))
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
unsafe fn load_scales(format: CodeFormat, group: *const PairVector) -> GroupScales {
    // SAFETY: the caller's vectors begin with a panel's 32 scales and 32 zeros; the caller has the processor.
    unsafe {
        let mut scales = [[_mm512_setzero_ps(); 2]; 2];
        for (half, scales) in scales.iter_mut().enumerate() {
            for (nth, value) in scales.iter_mut().enumerate() {
                *value = match format.short {
                    true => {
                        let at: *const __m256i = group.add(nth).cast();
                        _mm512_cvtph_ps(_mm256_load_si256(at.add(half)))
                    }
                    false => _mm512_load_ps(group.add(2 * nth + half).cast()),
                };
            }
        }
        scales
    }
}
