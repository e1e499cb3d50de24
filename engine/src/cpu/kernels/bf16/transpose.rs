//! The transposition of a block of packed weights, for `dy · W`: 32 outputs × 32 inputs of one panel become
//! 32 inputs × 32 outputs of a panel of the transposed matrix. 32 inputs are one group of codes.

use super::panels::{PANEL, PairVector};
use crate::cpu::kernels::has_avx512_bf16;

/// Writes the first `out.len()` vectors of the block's transpose.
pub fn transpose_block(block: &[PairVector; PANEL], out: &mut [PairVector]) {
    assert!(out.len() <= PANEL);
    #[cfg(target_arch = "x86_64")]
    if has_avx512_bf16() {
        // SAFETY: the processor has the features.
        return unsafe { x86::transpose_block(block, out) };
    }
    plain(block, out);
}

fn plain(block: &[PairVector; PANEL], out: &mut [PairVector]) {
    for (l, vector) in out.iter_mut().enumerate() {
        // Vector l holds rows n, n + 1 of the block for 16 of its columns.
        let (n, first) = (l / 2 * 2, l % 2 * 16);
        for (i, both) in vector.0.iter_mut().enumerate() {
            let value =
                |n: usize, k: usize| block[k / 2 * 2 + n / 16].0[n % 16] >> (16 * (k % 2)) & 0xffff;
            *both = value(n, first + i) | value(n + 1, first + i) << 16;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::activations::x86::transpose_16x16;
    use super::{PANEL, PairVector};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw")]
    pub fn transpose_block(block: &[PairVector; PANEL], out: &mut [PairVector]) {
        for (half, out) in out.chunks_mut(PANEL / 2).enumerate() {
            // With the pairs in this order, quarter q of a row's register has columns 4q to 4q + 3, and those plus
            // 16. Two rows unpacked are then their first 16 columns, and their other 16.
            let pairs: [__m512i; 16] = std::array::from_fn(|i| {
                let pair = i / 4 * 2 + i % 4 / 2 * 8 + i % 2;
                // SAFETY: a vector is one register, and aligned.
                unsafe { _mm512_load_si512(std::ptr::from_ref(&block[2 * pair + half]).cast()) }
            });
            let rows = transpose_16x16(&pairs);
            for (two, vectors) in rows.chunks_exact(2).zip(out.chunks_mut(2)) {
                let columns = [
                    _mm512_unpacklo_epi16(two[0], two[1]),
                    _mm512_unpackhi_epi16(two[0], two[1]),
                ];
                for (vector, columns) in vectors.iter_mut().zip(columns) {
                    // SAFETY: as above.
                    unsafe { _mm512_store_si512(std::ptr::from_mut(vector).cast(), columns) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Init, PackedRows, Weights, ZERO, multiply};
    use super::*;
    use crate::cpu::kernels::numbers;

    #[test]
    fn a_block_is_transposed_alike_on_every_processor() {
        let both = |n: u32| n | (n + 1000) << 16;
        let vector = |l: usize| PairVector(std::array::from_fn(|i| both((16 * l + i) as u32)));
        let block = std::array::from_fn(vector);
        for vectors in [32, 18, 2] {
            let (mut wide, mut narrow) = ([ZERO; PANEL], [ZERO; PANEL]);
            transpose_block(&block, &mut wide[..vectors]);
            plain(&block, &mut narrow[..vectors]);
            assert_eq!(wide.map(|l| l.0), narrow.map(|l| l.0), "{vectors} vectors");
        }
    }

    #[test]
    fn a_product_with_the_transpose_has_the_bits_of_the_transposed_matrix() {
        for (n, k) in [(5, 7), (64, 32), (70, 33), (33, 130), (1100, 96)] {
            let w = numbers(n * k, 4);
            let transpose: Vec<f32> = (0..n * k).map(|i| w[i % n * k + i / n]).collect();
            let w = Weights::pack(&[w], k);
            let transpose = Weights::pack(&[transpose], n);
            for rows in [1, 13, 40] {
                let mut x = PackedRows::default();
                x.pack(&numbers(rows * n, 1), n);
                let (mut got, mut want) = (vec![f32::NAN; rows * k], vec![f32::NAN; rows * k]);
                multiply(&x, w.transposed(), &mut got, Init::Zero);
                multiply(&x, transpose.as_stored(), &mut want, Init::Zero);
                assert_eq!(got, want, "{n}x{k}, {rows} rows");
            }
        }
    }
}
