//! Weights of at most eight bits, packed: `code · scale + zero`, with a scale and a zero for every group
//! of 32 along K.
//!
//! Blocks of quantised files that are such steps themselves (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K)
//! are recognised and lose nothing; others are rounded to 255 steps. How wide codes, scales and zeros are
//! stored is each panel's own: as narrow as holds them exactly, so a panel's width never changes a value.

use super::codes::{self, GROUP, PANEL, Row, bits_for};
use super::steps::fit;
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
    /// Of a code: 4, 5 or 8.
    pub bits: usize,
    /// `[inputs / 32][rows]`
    pub rows: Vec<Row>,
    pub steps: Steps,
}

/// The scale and zero of every group.
pub enum Steps {
    /// `[inputs / 32]`: a group lies along the inputs.
    Full(Vec<Pair<f32>>),
    /// Likewise, where 16 bits hold all of them exactly.
    Half(Vec<Pair<f16>>),
    /// `[inputs][scale, zero]`: a group lies along the outputs and is a panel's row (the transposed matrix).
    Rows(Vec<[f32; 2]>),
}

/// A group's step for each of a panel's outputs.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Pair<T> {
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
    pub fn of_blocks(parts: &[Blocks], inputs: usize) -> Self {
        let rows = Blocks::rows(parts, inputs);
        Panels {
            outputs: rows.len(),
            inputs,
            panels: rows.par_chunks(PANEL).map(Panel::of_blocks).collect(),
        }
    }

    /// The same matrix, packed for the product with its transpose: the same codes and steps.
    pub fn transpose(&self) -> Self {
        let panels = 0..self.inputs.div_ceil(PANEL);
        let turn = |group: usize| {
            let (mut turned, mut steps) = (Vec::new(), Vec::new());
            for n in 0..self.outputs {
                let (panel, lane) = (&self.panels[n / PANEL], n % PANEL);
                let rows = panel.group(group);
                let code = |k| codes::code(rows, lane, k, panel.bits);
                turned.push(std::array::from_fn(code));
                steps.push(panel.steps.of(group, lane));
            }
            steps.resize(steps.len().next_multiple_of(GROUP), [0.0; 2]);
            Panel::new(turned, Steps::Rows(steps))
        };
        Panels {
            outputs: self.inputs,
            inputs: self.outputs,
            panels: panels.into_par_iter().map(turn).collect(),
        }
    }

    /// Row `n` of the matrix, widened.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        self.panels[n / PANEL].row(n % PANEL, &mut out[..self.inputs]);
    }
}

impl Panel {
    fn pack(rows: &[&[f32]]) -> Self {
        let groups = rows[0].len().div_ceil(GROUP);
        let mut codes = vec![[0; PANEL]; groups * GROUP];
        let mut steps = vec![Pair::default(); groups];
        for (lane, row) in rows.iter().enumerate() {
            let codes = codes.chunks_exact_mut(GROUP);
            for ((group, codes), step) in row.chunks(GROUP).zip(codes).zip(&mut steps) {
                let (scale, zero) = fit(group);
                (step.scale[lane], step.zero[lane]) = (scale, zero);
                let inverse = if scale != 0.0 { 1.0 / scale } else { 0.0 };
                for (value, codes) in group.iter().zip(codes) {
                    // Rounded without a call: it is never negative.
                    codes[lane] = ((value - zero) * inverse + 0.5) as u8;
                }
            }
        }
        Panel::new(codes, narrowed(steps))
    }

    /// Of each output's codes and steps.
    fn of_blocks(rows: &[BlockRow]) -> Self {
        let groups = rows[0].0.len();
        let mut codes = vec![[0; PANEL]; groups * GROUP];
        let mut steps = vec![Pair::default(); groups];
        for (lane, (blocks, own)) in rows.iter().enumerate() {
            for (group, block) in blocks.iter().enumerate() {
                [steps[group].scale[lane], steps[group].zero[lane]] = own[group];
                for (codes, code) in codes[group * GROUP..].iter_mut().zip(block) {
                    codes[lane] = *code;
                }
            }
        }
        Panel::new(codes, narrowed(steps))
    }

    fn new(mut codes: Vec<[u8; PANEL]>, steps: Steps) -> Self {
        let bits = bits_for(codes.iter().flatten().copied().max().unwrap_or(0));
        codes.resize(codes.len().next_multiple_of(GROUP), [0; PANEL]);
        let (groups, _) = codes.as_chunks();
        Panel {
            bits,
            rows: groups.iter().flat_map(|g| codes::pack(g, bits)).collect(),
            steps,
        }
    }

    /// The weights of one output.
    fn row(&self, lane: usize, out: &mut [f32]) {
        for (g, out) in out.chunks_mut(GROUP).enumerate() {
            let rows = self.group(g);
            for (k, out) in out.iter_mut().enumerate() {
                let [scale, zero] = match &self.steps {
                    Steps::Rows(steps) => steps[g * GROUP + k],
                    steps => steps.of(g, lane),
                };
                let code = codes::code(rows, lane, k, self.bits);
                *out = f32::from(code).mul_add(scale, zero);
            }
        }
    }

    /// The codes of a group along the inputs.
    pub fn group(&self, group: usize) -> &[Row] {
        let rows = codes::rows(self.bits);
        &self.rows[group * rows..][..rows]
    }
}

impl Steps {
    /// Scale and zero of a group along the inputs.
    fn of(&self, group: usize, lane: usize) -> [f32; 2] {
        match self {
            Steps::Full(pairs) => [pairs[group].scale[lane], pairs[group].zero[lane]],
            Steps::Half(pairs) => {
                [pairs[group].scale[lane], pairs[group].zero[lane]].map(f16::to_f32)
            }
            Steps::Rows(_) => unreachable!("only what was packed is read by its groups"),
        }
    }
}

impl Default for Pair<f32> {
    fn default() -> Self {
        Pair {
            scale: [0.0; PANEL],
            zero: [0.0; PANEL],
        }
    }
}

/// The steps in 16 bits, if those hold them all exactly.
fn narrowed(steps: Vec<Pair<f32>>) -> Steps {
    let narrow = |pair: &Pair<f32>| Pair {
        scale: pair.scale.map(f16::from_f32),
        zero: pair.zero.map(f16::from_f32),
    };
    let exact = |wide: &[f32; PANEL], narrow: &[f16; PANEL]| {
        wide.iter().zip(narrow).all(|(w, n)| *w == n.to_f32())
    };
    let halves: Vec<Pair<f16>> = steps.iter().map(narrow).collect();
    let mut both = steps.iter().zip(&halves);
    match both.all(|(w, n)| exact(&w.scale, &n.scale) && exact(&w.zero, &n.zero)) {
        true => Steps::Half(halves),
        false => Steps::Full(steps),
    }
}

/// The whole matrix, widened.
#[cfg(test)]
pub fn matrix(panels: &Panels) -> Vec<f32> {
    let mut rows = vec![0.0; panels.outputs * panels.inputs];
    for (n, row) in rows.chunks_exact_mut(panels.inputs).enumerate() {
        panels.row(n, row);
    }
    rows
}

/// The same matrix in the widest form: codes of eight bits, steps of 32.
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
        let pair = |g: usize| Pair {
            scale: std::array::from_fn(|lane| panel.steps.of(g, lane)[0]),
            zero: std::array::from_fn(|lane| panel.steps.of(g, lane)[1]),
        };
        Panel {
            bits: 8,
            rows: (0..groups).flat_map(bytes).collect(),
            steps: Steps::Full((0..groups).map(pair).collect()),
        }
    };
    Panels {
        outputs: panels.outputs,
        inputs: panels.inputs,
        panels: panels.panels.iter().map(panel).collect(),
    }
}
