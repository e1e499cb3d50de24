//! Frozen weights that a quantised file holds in few bits, kept as its codes and widened to bf16 on their
//! way into the product: a decoding step costs the reading of all weights, and codes are a third of it.
//!
//! A weight is widened to the same bits wherever it is needed: for few rows or many, and for the transpose.

use super::codes::{Form, GROUP_LINES, GROUP_PAIRS};
use super::panels::{Line, PANEL, ZERO};
use super::tile::Place;
use crate::cpu::kernels::has_avx512_bf16;
use crate::weights::{BLOCK, BlockRow, Blocks};
use half::f16;
use rayon::prelude::*;

/// A matrix as codes of 4, 5 or 8 bits, with a scale and a zero for every 32 along K.
pub struct Coded {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    panels: Vec<Codes>,
    /// All panels', one after another, so that a product reads them as one stream.
    data: Vec<Line>,
}

/// How a panel lies: `[inputs / 32]` groups, each its steps, its codes and the codes' top bits.
#[derive(Clone, Copy)]
struct Codes {
    form: Form,
    /// Its first line.
    first: usize,
}

impl Coded {
    /// Packs matrices `[n_i, inputs]` stacked on top of each other.
    pub fn pack(parts: &[Blocks], inputs: usize) -> Self {
        let groups = inputs / BLOCK;
        let rows = Blocks::rows(parts, inputs);
        let forms: Vec<Form> = rows.par_chunks(PANEL).map(Form::of).collect();
        let mut lines = 0;
        let panels = forms.into_iter().map(|form| {
            let first = lines;
            lines += groups * form.size();
            Codes { form, first }
        });
        let panels: Vec<Codes> = panels.collect();
        let mut data = vec![ZERO; lines];
        let mut rest = &mut data[..];
        let mut places = Vec::with_capacity(panels.len());
        for (rows, codes) in rows.chunks(PANEL).zip(&panels) {
            let (mine, others) = rest.split_at_mut(groups * codes.form.size());
            rest = others;
            places.push((rows, codes.form, mine));
        }
        places.into_par_iter().for_each(|(rows, form, lines)| {
            for (group, lines) in lines.chunks_exact_mut(form.size()).enumerate() {
                pack_group(rows, group, form, lines);
            }
        });
        Coded {
            outputs: rows.len(),
            inputs,
            panels,
            data,
        }
    }

    /// Row `n` of the matrix, rounded to bf16.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        for (group, out) in out[..self.inputs].chunks_mut(BLOCK).enumerate() {
            let (form, lines) = self.group(n / PANEL, group);
            for (k, out) in out.iter_mut().enumerate() {
                let (line, i) = (k / 2 * 2 + n % PANEL / 16, n % 16);
                let value = value(form, lines, line, i, k % 2);
                *out = f32::from_bits(rounded(value) << 16);
            }
        }
    }

    /// The lines of a panel from pair `first` on: of whole groups.
    pub(super) fn widen(&self, panel: usize, first: usize, lines: &mut [Line]) {
        assert!(first.is_multiple_of(GROUP_PAIRS));
        let (lines, rest) = lines.as_chunks_mut();
        assert!(rest.is_empty());
        for (group, lines) in (first / GROUP_PAIRS..).zip(lines) {
            let (form, codes) = self.group(panel, group);
            widen_group(form, codes, lines);
        }
    }

    /// Whether so few rows are multiplied without a buffer of widened lines.
    pub(super) fn takes(&self, rows: usize) -> bool {
        #[cfg(target_arch = "x86_64")]
        return has_avx512_bf16() && rows <= super::widen::FEW;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// A stretch of `x[pairs][rows]`, from pair `first` on, against a panel.
    ///
    /// # Safety
    /// As [`Tile::run`](super::tile::Tile::run); [`Self::takes`] must hold.
    pub(super) unsafe fn few(
        &self,
        panel: usize,
        first: usize,
        x: &[u32],
        rows: usize,
        place: &Place,
    ) {
        let Codes { form, first: start } = self.panels[panel];
        let from = start + first / GROUP_PAIRS * form.size();
        let groups = x.len() / rows / GROUP_PAIRS;
        let lines = &self.data[from..from + groups * form.size()];
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the caller's promise.
        unsafe {
            super::widen::few(form, lines, x, rows, place)
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("{} lines: not taken", lines.len())
    }

    fn group(&self, panel: usize, group: usize) -> (Form, &[Line]) {
        let Codes { form, first } = self.panels[panel];
        let from = first + group * form.size();
        (form, &self.data[from..from + form.size()])
    }
}

fn pack_group(rows: &[BlockRow], group: usize, form: Form, lines: &mut [Line]) {
    // The codes in the order of the product's lines.
    let mut of_lines = [[0u8; 32]; GROUP_LINES];
    let (steps, rest) = lines.split_at_mut(2 * form.steps());
    for (lane, (codes, own)) in rows.iter().enumerate() {
        for (k, code) in codes[group].iter().enumerate() {
            of_lines[k / 2 * 2 + lane / 16][k % 2 * 16 + lane % 16] = *code;
        }
        for (step, steps) in own[group].iter().zip(steps.chunks_exact_mut(form.steps())) {
            match form.short {
                true => {
                    let bits = u32::from(f16::from_f32(*step).to_bits());
                    steps[0].0[lane / 2] |= bits << (lane % 2 * 16);
                }
                false => steps[lane / 16].0[lane % 16] = step.to_bits(),
            }
        }
    }
    let (codes, tops) = rest.split_at_mut(form.codes());
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    if form.bits == 8 {
        for (line, two) in codes
            .iter_mut()
            .zip(of_lines.as_flattened().chunks_exact(64))
        {
            line.0 = std::array::from_fn(|i| word(&two[4 * i..]));
        }
        return;
    }
    for (line, four) in codes
        .iter_mut()
        .zip(of_lines.as_flattened().chunks_exact(128))
    {
        let both = |i: usize| {
            word(&four[4 * i..]) & 0x0f0f_0f0f | (word(&four[64 + 4 * i..]) & 0x0f0f_0f0f) << 4
        };
        line.0 = std::array::from_fn(both);
    }
    for (word, line) in tops.iter_mut().flat_map(|t| &mut t.0).zip(&of_lines) {
        *word = (0..32).fold(0, |tops, i| tops | u32::from(line[i] >> 4) << i);
    }
}

/// The word, and the first of its bits, of code `i` of a line: 16 of an even input, then 16 of the next.
fn place(form: Form, line: usize, i: usize) -> (usize, usize) {
    let (byte, half) = match form.bits {
        8 => (32 * line + i, 0),
        _ => (32 * (line / 4 * 2 + line % 2) + i, line / 2 % 2 * 4),
    };
    (byte / 4, byte % 4 * 8 + half)
}

/// Weight `i` of a line's pairs: its first or its second.
fn value(form: Form, lines: &[Line], line: usize, i: usize, second: usize) -> f32 {
    let (steps, rest) = lines.split_at(2 * form.steps());
    let (codes, tops) = rest.split_at(form.codes());
    let lane = line % 2 * 16 + i;
    let [scale, zero] = [0, 1].map(|nth| {
        let steps = &steps[nth * form.steps()..];
        match form.short {
            true => f16::from_bits((steps[0].0[lane / 2] >> (lane % 2 * 16)) as u16).to_f32(),
            false => f32::from_bits(steps[lane / 16].0[lane % 16]),
        }
    });
    let i = second * 16 + i;
    let (nth, shift) = place(form, line, i);
    let code = codes[nth / 16].0[nth % 16] >> shift & if form.bits == 8 { 255 } else { 15 };
    let top = form.bits == 5 && tops[line / 16].0[line % 16] >> i & 1 == 1;
    // In two steps, as the wide registers do it.
    let zero = if top {
        16f32.mul_add(scale, zero)
    } else {
        zero
    };
    (code as f32).mul_add(scale, zero)
}

fn widen_group(form: Form, codes: &[Line], lines: &mut [Line; GROUP_LINES]) {
    #[cfg(target_arch = "x86_64")]
    if has_avx512_bf16() {
        // SAFETY: the processor has the features.
        return unsafe { super::widen::widen(form, codes, lines) };
    }
    for (l, line) in lines.iter_mut().enumerate() {
        for (i, both) in line.0.iter_mut().enumerate() {
            let value = |second| rounded(value(form, codes, l, i, second));
            *both = value(0) | value(1) << 16;
        }
    }
}

/// The nearest bf16; of two the one further from 0, which is cheaper than the even one.
fn rounded(value: f32) -> u32 {
    value.to_bits().wrapping_add(0x8000) >> 16
}

#[cfg(test)]
mod tests {
    use super::super::panels::Panels;
    use super::super::{Rows, Start, View, Weights, multiply};
    use super::*;
    use crate::cpu::kernels::numbers;

    /// Codes below `levels`, and steps that 16 bits hold or do not.
    fn of_a_file(blocks: usize, levels: f32, short: bool) -> Blocks {
        let random = numbers((BLOCK + 2) * blocks, 5);
        let (codes, steps) = random.split_at(BLOCK * blocks);
        let code = |x: &f32| ((x + 0.5) * levels) as u8;
        let step = |x: &f32| match short {
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
            steps: steps
                .as_chunks()
                .0
                .iter()
                .map(|s| s.each_ref().map(step))
                .collect(),
        }
    }

    /// The matrix as bf16.
    fn widened(coded: &Coded) -> Panels {
        let mut panels = Panels::zeros(coded.outputs, coded.inputs);
        let per_panel = panels.panel_lines();
        let lines = panels.lines.chunks_exact_mut(per_panel).enumerate();
        lines.for_each(|(panel, lines)| coded.widen(panel, 0, lines));
        panels
    }

    #[test]
    fn few_rows_and_many_have_the_bits_of_the_widened_matrix() {
        for (n, k) in [(5, 32), (33, 96), (70, 1120), (64, 544), (1100, 96)] {
            for (levels, short) in [(16.0, true), (32.0, true), (256.0, true), (16.0, false)] {
                let w = of_a_file(n * k / BLOCK, levels, short);
                let coded = Coded::pack(std::slice::from_ref(&w), k);
                assert!(coded.panels.iter().all(|p| p.form.short == short));
                let widened = Weights::Panels(widened(&coded));
                let coded = Weights::Coded(coded);
                for rows in [1, 2, 3, 4, 5, 6, 7, 13, 40] {
                    let mut x = Rows::default();
                    x.pack(&numbers(rows * k, 1), k);
                    let mut dy = Rows::default();
                    dy.pack(&numbers(rows * n, 2), n);
                    let run = |x: &Rows, w: View, outputs: usize| {
                        let mut y = vec![f32::NAN; rows * outputs];
                        multiply(x, w, &mut y, Start::Zero);
                        y
                    };
                    let both = |w: &Weights| {
                        let dx = run(&dy, w.transposed(), k);
                        (run(&x, w.straight(), n), dx)
                    };
                    let (got, want) = (both(&coded), both(&widened));
                    assert_eq!(got, want, "{n}x{k}, {levels} levels, {rows} rows");
                }
                let (mut a, mut b) = (vec![0.0; k], vec![0.0; k]);
                for (i, row) in w.floats().chunks_exact(k).enumerate() {
                    coded.row(i, &mut a);
                    widened.row(i, &mut b);
                    assert_eq!(a, b);
                    for (a, w) in a.iter().zip(row) {
                        assert!((a - w).abs() <= w.abs() / 256.0 + 1e-7, "{a} for {w}");
                    }
                }
            }
        }
    }
}
