//! Frozen weights of a quantised file, kept as the file's codes and dequantised to bf16 inside the product.
//!
//! A decoding step has to read all weights, and codes are a third of the bytes of bf16. A weight is
//! dequantised to the same bits in a small batch, in a large one, and in the transpose.

use super::activations::PackedRows;
use super::codes::{CodeFormat, GROUP_PAIRS, GROUP_VECTORS};
use super::panels::{PANEL, PairVector, ZERO};
use super::tile::OutputTile;
#[cfg(target_arch = "x86_64")]
use crate::cpu::kernels::has_amx_bf16;
use crate::cpu::kernels::has_avx512_bf16;
use crate::weights::{BLOCK, BlockRow, Blocks};
use half::f16;
use rayon::prelude::*;

/// A matrix as codes of 4, 5 or 8 bits, with a scale and a zero for every 32 along K.
pub struct QuantisedPanels {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    panels: Vec<QuantisedPanel>,
    /// The panels one after another, so that a product reads one stream.
    data: Vec<PairVector>,
}

/// A panel's format and place.
#[derive(Clone, Copy)]
struct QuantisedPanel {
    format: CodeFormat,
    /// Its first vector in the data.
    first: usize,
}

impl QuantisedPanels {
    /// Packs matrices `[n_i, inputs]`, stacked on top of each other.
    pub fn pack(parts: &[Blocks], inputs: usize) -> Self {
        let groups = inputs / BLOCK;
        let rows = Blocks::rows(parts, inputs);
        let formats: Vec<CodeFormat> = rows.par_chunks(PANEL).map(CodeFormat::of).collect();
        let mut vectors = 0;
        let panels = formats.into_iter().map(|format| {
            let first = vectors;
            vectors += groups * format.size();
            QuantisedPanel { format, first }
        });
        let panels: Vec<QuantisedPanel> = panels.collect();
        let mut data = vec![ZERO; vectors];
        let mut rest = &mut data[..];
        let mut tasks = Vec::with_capacity(panels.len());
        for (rows, codes) in rows.chunks(PANEL).zip(&panels) {
            let (mine, others) = rest.split_at_mut(groups * codes.format.size());
            rest = others;
            tasks.push((rows, codes.format, mine));
        }
        tasks.into_par_iter().for_each(|(rows, format, vectors)| {
            for (group, vectors) in vectors.chunks_exact_mut(format.size()).enumerate() {
                pack_group(rows, group, format, vectors);
            }
        });
        QuantisedPanels {
            outputs: rows.len(),
            inputs,
            panels,
            data,
        }
    }

    /// Row `n` of the matrix, rounded to bf16.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        for (group, out) in out[..self.inputs].chunks_mut(BLOCK).enumerate() {
            let (format, vectors) = self.group(n / PANEL, group);
            for (k, out) in out.iter_mut().enumerate() {
                let (vector, i) = (k / 2 * 2 + n % PANEL / 16, n % 16);
                let value = value(format, vectors, vector, i, k % 2);
                *out = f32::from_bits(rounded(value) << 16);
            }
        }
    }

    /// Dequantises whole groups of a panel, from pair `first` on, into `vectors`.
    pub(super) fn dequantise(&self, panel: usize, first: usize, vectors: &mut [PairVector]) {
        assert!(first.is_multiple_of(GROUP_PAIRS));
        let (vectors, rest) = vectors.as_chunks_mut();
        assert!(rest.is_empty());
        for (group, vectors) in (first / GROUP_PAIRS..).zip(vectors) {
            let (format, codes) = self.group(panel, group);
            dequantise_group(format, codes, vectors);
        }
    }

    /// Multiplies `length` pairs of x, which is one block, from pair `first` on, with a panel. `false`, with nothing
    /// written, where a buffer of dequantised weights is faster or the processor has no such product.
    ///
    /// # Safety
    /// As [`Tile::run`](super::tile::Tile::run).
    #[cfg(target_arch = "x86_64")]
    pub(super) unsafe fn small_batch(
        &self,
        panel: usize,
        x: &PackedRows,
        first: usize,
        length: usize,
        out: &OutputTile,
    ) -> bool {
        use super::small_batch::{SMALL_BATCH_ROWS, by_even_and_odd, by_pairs};
        assert_eq!(x.blocks.len(), 1);
        let QuantisedPanel {
            format,
            first: start,
        } = self.panels[panel];
        let from = start + first / GROUP_PAIRS * format.size();
        let vectors = &self.data[from..from + length / GROUP_PAIRS * format.size()];
        if let Some(floats) = x.floats(first, length) {
            // SAFETY: the caller's promise; rows are kept in f32 where the processor has AMX, hence AVX512_BF16.
            unsafe { by_even_and_odd(format, vectors, floats, x.rows, out) }
            return true;
        }
        if has_amx_bf16() || !has_avx512_bf16() || x.rows > SMALL_BATCH_ROWS {
            return false;
        }
        let x = x.part(0, first, length);
        // SAFETY: the caller's promise; the processor has AVX512_BF16.
        unsafe { by_pairs(format, vectors, x.pairs, x.rows, out) }
        true
    }

    /// # Safety
    /// None: no other processor has this product.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) unsafe fn small_batch(
        &self,
        _panel: usize,
        _x: &PackedRows,
        _first: usize,
        _length: usize,
        _out: &OutputTile,
    ) -> bool {
        false
    }

    fn group(&self, panel: usize, group: usize) -> (CodeFormat, &[PairVector]) {
        let QuantisedPanel { format, first } = self.panels[panel];
        let from = first + group * format.size();
        (format, &self.data[from..from + format.size()])
    }
}

fn pack_group(rows: &[BlockRow], group: usize, format: CodeFormat, vectors: &mut [PairVector]) {
    // The codes in the order of the product's vectors.
    let mut of_vectors = [[0u8; 32]; GROUP_VECTORS];
    let (scales, rest) = vectors.split_at_mut(2 * format.scales());
    for (lane, (codes, own)) in rows.iter().enumerate() {
        for (k, code) in codes[group].iter().enumerate() {
            of_vectors[k / 2 * 2 + lane / 16][k % 2 * 16 + lane % 16] = *code;
        }
        for (value, scales) in own[group]
            .iter()
            .zip(scales.chunks_exact_mut(format.scales()))
        {
            match format.short {
                true => {
                    let bits = u32::from(f16::from_f32(*value).to_bits());
                    scales[0].0[lane / 2] |= bits << (lane % 2 * 16);
                }
                false => scales[lane / 16].0[lane % 16] = value.to_bits(),
            }
        }
    }
    let (codes, high_bits) = rest.split_at_mut(format.codes());
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if format.bits == 8 {
        for (vector, two) in codes
            .iter_mut()
            .zip(of_vectors.as_flattened().chunks_exact(64))
        {
            vector.0 = std::array::from_fn(|i| word(&two[4 * i..]));
        }
        return;
    }
    for (vector, four) in codes
        .iter_mut()
        .zip(of_vectors.as_flattened().chunks_exact(128))
    {
        let both = |i: usize| {
            word(&four[4 * i..]) & 0x0f0f_0f0f | (word(&four[64 + 4 * i..]) & 0x0f0f_0f0f) << 4
        };
        vector.0 = std::array::from_fn(both);
    }
    for (word, vector) in high_bits.iter_mut().flat_map(|t| &mut t.0).zip(&of_vectors) {
        *word = (0..32).fold(0, |bits, i| bits | u32::from(vector[i] >> 4) << i);
    }
}

/// Where code `i` of a vector lies: the word, and the first of its bits. Codes 0 to 15 are of an even input,
/// 16 to 31 of the next.
fn code_position(format: CodeFormat, vector: usize, i: usize) -> (usize, usize) {
    let (byte, half) = match format.bits {
        8 => (32 * vector + i, 0),
        _ => (32 * (vector / 4 * 2 + vector % 2) + i, vector / 2 % 2 * 4),
    };
    (byte / 4, byte % 4 * 8 + half)
}

/// The first or the second weight of pair `i` of a vector.
fn value(
    format: CodeFormat,
    vectors: &[PairVector],
    vector: usize,
    i: usize,
    second: usize,
) -> f32 {
    let (scales, rest) = vectors.split_at(2 * format.scales());
    let (codes, high_bits) = rest.split_at(format.codes());
    let lane = vector % 2 * 16 + i;
    let [scale, zero] = [0, 1].map(|nth| {
        let scales = &scales[nth * format.scales()..];
        match format.short {
            true => f16::from_bits((scales[0].0[lane / 2] >> (lane % 2 * 16)) as u16).to_f32(),
            false => f32::from_bits(scales[lane / 16].0[lane % 16]),
        }
    });
    let i = second * 16 + i;
    let (nth, shift) = code_position(format, vector, i);
    let code = codes[nth / 16].0[nth % 16] >> shift & if format.bits == 8 { 255 } else { 15 };
    let top = format.bits == 5 && high_bits[vector / 16].0[vector % 16] >> i & 1 == 1;
    // In two roundings, as the vectorised form has them.
    let zero = if top {
        16f32.mul_add(scale, zero)
    } else {
        zero
    };
    (code as f32).mul_add(scale, zero)
}

fn dequantise_group(
    format: CodeFormat,
    codes: &[PairVector],
    vectors: &mut [PairVector; GROUP_VECTORS],
) {
    #[cfg(target_arch = "x86_64")]
    if has_avx512_bf16() {
        // SAFETY: the processor has the features.
        return unsafe { super::dequantise::dequantise(format, codes, vectors) };
    }
    for (l, vector) in vectors.iter_mut().enumerate() {
        for (i, both) in vector.0.iter_mut().enumerate() {
            let value = |second| rounded(value(format, codes, l, i, second));
            *both = value(0) | value(1) << 16;
        }
    }
}

/// The nearest bf16. Ties go away from 0, which is cheaper than rounding them to even.
fn rounded(value: f32) -> u32 {
    value.to_bits().wrapping_add(0x8000) >> 16
}

#[cfg(test)]
mod tests {
    use super::super::panels::Panels;
    use super::super::{Init, View, Weights, multiply};
    use super::*;
    use crate::cpu::kernels::numbers;

    /// Codes below `levels`; `short`: scales that 16 bits hold.
    fn of_a_file(blocks: usize, levels: f32, short: bool) -> Blocks {
        let random = numbers((BLOCK + 2) * blocks, 5);
        let (codes, scales) = random.split_at(BLOCK * blocks);
        let code = |x: &f32| ((x + 0.5) * levels) as u8;
        let scale = |x: &f32| match short {
            true => f16::from_f32(x * 0.1).to_f32(),
            false => x * 0.1,
        };
        Blocks {
            codes: codes
                .as_chunks()
                .0
                .iter()
                .map(|c| c.each_ref().map(code))
                .collect(),
            scales: scales
                .as_chunks()
                .0
                .iter()
                .map(|s| s.each_ref().map(scale))
                .collect(),
        }
    }

    /// The matrix as bf16.
    fn dequantised(quantised: &QuantisedPanels) -> Panels {
        let mut panels = Panels::zeros(quantised.outputs, quantised.inputs);
        let per_panel = panels.panel_vectors();
        let vectors = panels.vectors.chunks_exact_mut(per_panel).enumerate();
        vectors.for_each(|(panel, vectors)| quantised.dequantise(panel, 0, vectors));
        panels
    }

    #[test]
    fn small_and_large_batches_have_the_bits_of_the_dequantised_matrix() {
        for (n, k) in [(5, 32), (33, 96), (70, 1120), (64, 544), (1100, 96)] {
            for (levels, short) in [(16.0, true), (32.0, true), (256.0, true), (16.0, false)] {
                let w = of_a_file(n * k / BLOCK, levels, short);
                let quantised = QuantisedPanels::pack(std::slice::from_ref(&w), k);
                assert!(quantised.panels.iter().all(|p| p.format.short == short));
                let dequantised = Weights::Panels(dequantised(&quantised));
                let quantised = Weights::Quantised(quantised);
                for rows in [1, 2, 3, 4, 5, 6, 7, 8, 13, 40] {
                    let mut x = PackedRows::default();
                    x.pack(&numbers(rows * k, 1), k);
                    let mut dy = PackedRows::default();
                    dy.pack(&numbers(rows * n, 2), n);
                    let run = |x: &PackedRows, w: View, outputs: usize| {
                        let mut y = vec![f32::NAN; rows * outputs];
                        multiply(x, w, &mut y, Init::Zero);
                        y
                    };
                    let both = |w: &Weights| {
                        let dx = run(&dy, w.transposed(), k);
                        (run(&x, w.as_stored(), n), dx)
                    };
                    let (got, want) = (both(&quantised), both(&dequantised));
                    assert_eq!(got, want, "{n}x{k}, {levels} levels, {rows} rows");
                }
                let (mut a, mut b) = (vec![0.0; k], vec![0.0; k]);
                for (i, row) in w.floats().chunks_exact(k).enumerate() {
                    quantised.row(i, &mut a);
                    dequantised.row(i, &mut b);
                    assert_eq!(a, b);
                    for (a, w) in a.iter().zip(row) {
                        assert!((a - w).abs() <= w.abs() / 256.0 + 1e-7, "{a} for {w}");
                    }
                }
            }
        }
    }
}
