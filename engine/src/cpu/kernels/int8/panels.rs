//! Weights of at most eight bits, packed: `code · scale + zero`, with a scale and a zero for every group
//! of 32 along K.
//!
//! Blocks of quantised files that have this form (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K) lose nothing; other
//! weights are rounded to 255 steps. Each panel stores codes, scales and zeros in the narrowest widths that
//! hold them exactly, so a panel's width never changes a value.

use super::codes::{self, CodeRow, GROUP, PANEL, bits_for};
use super::scales::fit;
use crate::weights::{BlockRow, Blocks};
use half::f16;
use rayon::prelude::*;

/// A packed matrix.
pub struct Panels {
    pub outputs: usize,
    pub inputs: usize,
    /// Of 32 outputs each.
    pub panels: Vec<Panel>,
}

pub struct Panel {
    /// Bits of a code: 4, 5 or 8.
    pub bits: usize,
    /// `[inputs / 32][rows]`
    pub rows: Vec<CodeRow>,
    pub scales: Scales,
}

/// The scale and zero of every group.
pub enum Scales {
    /// `[inputs / 32]`; groups lie along the inputs.
    Full(Vec<GroupScales<f32>>),
    /// `[inputs / 32]`, in 16 bits, which hold all of them exactly.
    Half(Vec<GroupScales<f16>>),
    /// `[inputs][scale, zero]`, of a transposed matrix: its groups lie along the outputs, one for each row of the
    /// panel.
    PerRow(Vec<[f32; 2]>),
}

/// A group's scale and zero for each of a panel's outputs.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct GroupScales<T> {
    pub scale: [T; PANEL],
    pub zero: [T; PANEL],
}

impl Panels {
    /// Rounds and packs matrices `[n_i, inputs]` stacked on top of each other.
    pub fn pack(parts: &[Vec<f32>], inputs: usize) -> Self {
        let rows: Vec<&[f32]> = parts.iter().flat_map(|p| p.chunks_exact(inputs)).collect();
        Panels {
            outputs: rows.len(),
            inputs,
            panels: rows.par_chunks(PANEL).map(Panel::pack).collect(),
        }
    }

    /// Packs a file's codes as they are.
    pub fn from_blocks(parts: &[Blocks], inputs: usize) -> Self {
        let rows = Blocks::rows(parts, inputs);
        Panels {
            outputs: rows.len(),
            inputs,
            panels: rows.par_chunks(PANEL).map(Panel::from_blocks).collect(),
        }
    }

    /// The transposed matrix, of the same codes and scales.
    pub fn transpose(&self) -> Self {
        let panels = 0..self.inputs.div_ceil(PANEL);
        let transpose = |group: usize| {
            let (mut codes, mut scales) = (Vec::new(), Vec::new());
            for n in 0..self.outputs {
                let (panel, lane) = (&self.panels[n / PANEL], n % PANEL);
                let rows = panel.group(group);
                let code = |k| codes::code(rows, lane, k, panel.bits);
                codes.push(std::array::from_fn(code));
                scales.push(panel.scales.of(group, lane));
            }
            scales.resize(scales.len().next_multiple_of(GROUP), [0.0; 2]);
            Panel::new(codes, Scales::PerRow(scales))
        };
        Panels {
            outputs: self.inputs,
            inputs: self.outputs,
            panels: panels.into_par_iter().map(transpose).collect(),
        }
    }

    /// Row `n` of the matrix, as f32.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        self.panels[n / PANEL].row(n % PANEL, &mut out[..self.inputs]);
    }
}

impl Panel {
    fn pack(rows: &[&[f32]]) -> Self {
        let groups = rows[0].len().div_ceil(GROUP);
        let mut codes = vec![[0; PANEL]; groups * GROUP];
        let mut scales = vec![GroupScales::default(); groups];
        for (lane, row) in rows.iter().enumerate() {
            let codes = codes.chunks_exact_mut(GROUP);
            for ((group, codes), scales) in row.chunks(GROUP).zip(codes).zip(&mut scales) {
                let (scale, zero) = fit(group);
                (scales.scale[lane], scales.zero[lane]) = (scale, zero);
                let inverse = if scale != 0.0 { 1.0 / scale } else { 0.0 };
                for (value, codes) in group.iter().zip(codes) {
                    // Rounded without a call: it is never negative.
                    codes[lane] = ((value - zero) * inverse + 0.5) as u8;
                }
            }
        }
        Panel::new(codes, narrowed(scales))
    }

    /// Packs each output's codes and scales.
    fn from_blocks(rows: &[BlockRow]) -> Self {
        let groups = rows[0].0.len();
        let mut codes = vec![[0; PANEL]; groups * GROUP];
        let mut scales = vec![GroupScales::default(); groups];
        for (lane, (blocks, own)) in rows.iter().enumerate() {
            for (group, block) in blocks.iter().enumerate() {
                [scales[group].scale[lane], scales[group].zero[lane]] = own[group];
                for (codes, code) in codes[group * GROUP..].iter_mut().zip(block) {
                    codes[lane] = *code;
                }
            }
        }
        Panel::new(codes, narrowed(scales))
    }

    fn new(mut codes: Vec<[u8; PANEL]>, scales: Scales) -> Self {
        let bits = bits_for(codes.iter().flatten().copied().max().unwrap_or(0));
        codes.resize(codes.len().next_multiple_of(GROUP), [0; PANEL]);
        let (groups, _) = codes.as_chunks();
        Panel {
            bits,
            rows: groups.iter().flat_map(|g| codes::pack(g, bits)).collect(),
            scales,
        }
    }

    /// The weights of one output.
    fn row(&self, lane: usize, out: &mut [f32]) {
        for (g, out) in out.chunks_mut(GROUP).enumerate() {
            let rows = self.group(g);
            for (k, out) in out.iter_mut().enumerate() {
                let [scale, zero] = match &self.scales {
                    Scales::PerRow(scales) => scales[g * GROUP + k],
                    scales => scales.of(g, lane),
                };
                let code = codes::code(rows, lane, k, self.bits);
                *out = f32::from(code).mul_add(scale, zero);
            }
        }
    }

    /// The codes of a group along the inputs.
    pub fn group(&self, group: usize) -> &[CodeRow] {
        let rows = codes::rows(self.bits);
        &self.rows[group * rows..][..rows]
    }
}

impl Scales {
    /// Scale and zero of a group along the inputs.
    fn of(&self, group: usize, lane: usize) -> [f32; 2] {
        match self {
            Scales::Full(pairs) => [pairs[group].scale[lane], pairs[group].zero[lane]],
            Scales::Half(pairs) => {
                [pairs[group].scale[lane], pairs[group].zero[lane]].map(f16::to_f32)
            }
            Scales::PerRow(_) => unreachable!("only a packed matrix is read by its groups"),
        }
    }
}

impl Default for GroupScales<f32> {
    fn default() -> Self {
        GroupScales {
            scale: [0.0; PANEL],
            zero: [0.0; PANEL],
        }
    }
}

/// The scales in 16 bits, if 16 bits hold all of them exactly.
fn narrowed(scales: Vec<GroupScales<f32>>) -> Scales {
    let narrow = |pair: &GroupScales<f32>| GroupScales {
        scale: pair.scale.map(f16::from_f32),
        zero: pair.zero.map(f16::from_f32),
    };
    let exact = |wide: &[f32; PANEL], narrow: &[f16; PANEL]| {
        wide.iter().zip(narrow).all(|(w, n)| *w == n.to_f32())
    };
    let halves: Vec<GroupScales<f16>> = scales.iter().map(narrow).collect();
    let mut both = scales.iter().zip(&halves);
    match both.all(|(w, n)| exact(&w.scale, &n.scale) && exact(&w.zero, &n.zero)) {
        true => Scales::Half(halves),
        false => Scales::Full(scales),
    }
}

/// The whole matrix, as f32.
#[cfg(test)]
pub fn matrix(panels: &Panels) -> Vec<f32> {
    let mut rows = vec![0.0; panels.outputs * panels.inputs];
    for (n, row) in rows.chunks_exact_mut(panels.inputs).enumerate() {
        panels.row(n, row);
    }
    rows
}

/// The same matrix in the widest format: codes of 8 bits, scales of 32.
#[cfg(test)]
pub fn widest(panels: &Panels) -> Panels {
    let panel = |panel: &Panel| {
        let groups = panel.rows.len() / codes::rows(panel.bits);
        let bytes = |g: usize| {
            let rows = panel.group(g);
            let code = |k, lane| codes::code(rows, lane, k, panel.bits);
            let codes = std::array::from_fn(|k| std::array::from_fn(|lane| code(k, lane)));
            codes::pack(&codes, 8)
        };
        let pair = |g: usize| GroupScales {
            scale: std::array::from_fn(|lane| panel.scales.of(g, lane)[0]),
            zero: std::array::from_fn(|lane| panel.scales.of(g, lane)[1]),
        };
        Panel {
            bits: 8,
            rows: (0..groups).flat_map(bytes).collect(),
            scales: Scales::Full((0..groups).map(pair).collect()),
        }
    };
    Panels {
        outputs: panels.outputs,
        inputs: panels.inputs,
        panels: panels.panels.iter().map(panel).collect(),
    }
}
