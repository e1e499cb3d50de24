//! Packs the adapters' matrices, which change with every training step, into vectors of 16 outputs, from the
//! rows of a matrix or from its columns.

use super::panels::{PairVector, pair};
use crate::cpu::kernels::has_avx512_bf16;

/// Outputs of a vector.
pub(super) const LANES: usize = 16;

/// Packs up to 16 rows of `scale · w`. Vector `k · stride` gets the pair (2k, 2k + 1) of every row.
pub(super) fn pack_rows(
    w: &[f32],
    inputs: usize,
    scale: f32,
    vectors: &mut [PairVector],
    stride: usize,
) {
    assert!(w.len() <= LANES * inputs && (inputs.div_ceil(2) - 1) * stride < vectors.len());
    #[cfg(target_arch = "x86_64")]
    if has_avx512_bf16() {
        // SAFETY: the processor has the features; the vectors are there (just checked).
        return unsafe { x86::pack_rows(w, inputs, scale, vectors, stride) };
    }
    for (j, row) in w.chunks_exact(inputs).enumerate() {
        for (k, both) in row.chunks(2).enumerate() {
            let high = both.get(1).copied().unwrap_or(0.0);
            vectors[k * stride].0[j] = pair(scale * both[0], scale * high);
        }
    }
}

/// Packs two rows of at most 16 columns into a vector: a pair a column.
pub(super) fn pack_columns(low: &[f32], high: &[f32], scale: f32, vector: &mut PairVector) {
    assert!(low.len() <= LANES && (high.is_empty() || high.len() == low.len()));
    #[cfg(target_arch = "x86_64")]
    if has_avx512_bf16() {
        // SAFETY: the processor has the features.
        return unsafe { x86::pack_columns(low, high, scale, vector) };
    }
    for (j, low) in low.iter().enumerate() {
        let high = high.get(j).copied().unwrap_or(0.0);
        vector.0[j] = pair(scale * low, scale * high);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, PairVector};
    use crate::cpu::kernels::bf16::activations::x86::transpose_16x16;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub fn pack_rows(
        w: &[f32],
        inputs: usize,
        scale: f32,
        vectors: &mut [PairVector],
        stride: usize,
    ) {
        let scale = _mm512_set1_ps(scale);
        for k in (0..inputs).step_by(32) {
            let mut pairs = [_mm512_setzero_si512(); 16];
            let of = 32.min(inputs - k);
            let masks =
                [0, 16].map(|first| ((1u32 << 16.min(of.saturating_sub(first))) - 1) as u16);
            for (row, pairs) in w.chunks_exact(inputs).zip(&mut pairs) {
                let at = row[k..].as_ptr();
                // SAFETY: masked to the `of` elements that the row has from k on; the same bits.
                *pairs = unsafe {
                    let low = _mm512_maskz_loadu_ps(masks[0], at);
                    let high = _mm512_maskz_loadu_ps(masks[1], at.wrapping_add(16));
                    let (low, high) = (_mm512_mul_ps(low, scale), _mm512_mul_ps(high, scale));
                    std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
                };
            }
            let columns = transpose_16x16(&pairs);
            for (i, column) in columns[..of.div_ceil(2)].iter().enumerate() {
                let vector = &mut vectors[(k / 2 + i) * stride];
                // SAFETY: a vector is one register, and aligned.
                unsafe { _mm512_store_si512(std::ptr::from_mut(vector).cast(), *column) }
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub fn pack_columns(low: &[f32], high: &[f32], scale: f32, vector: &mut PairVector) {
        let scale = _mm512_set1_ps(scale);
        let masks = [low.len(), high.len()].map(|n| ((1u32 << n.min(LANES)) - 1) as u16);
        // SAFETY: masked to the elements of either; a vector is one register, and aligned; the same bits.
        unsafe {
            let low = _mm512_mul_ps(_mm512_maskz_loadu_ps(masks[0], low.as_ptr()), scale);
            let high = _mm512_mul_ps(_mm512_maskz_loadu_ps(masks[1], high.as_ptr()), scale);
            let wide = |x| {
                _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(
                    _mm512_cvtneps_pbh(x),
                ))
            };
            let both = _mm512_or_si512(wide(low), _mm512_slli_epi32::<16>(wide(high)));
            _mm512_store_si512(std::ptr::from_mut(vector).cast(), both);
        }
    }
}
