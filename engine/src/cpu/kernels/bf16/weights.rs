//! A frozen matrix, and how a product sees it: as it lies, or transposed.

use super::coded::Coded;
use super::codes::GROUP_LINES;
use super::panels::{Line, PANEL, Panels, ZERO};
use super::turned;
use crate::weights::Blocks;

// What is turned of a panel at once is one group of codes.
const _: () = assert!(GROUP_LINES == PANEL);

/// A frozen matrix `[outputs, inputs]`.
pub enum Weights {
    Panels(Panels),
    Coded(Coded),
}

impl Weights {
    /// Packs matrices `[n_i, inputs]` stacked on top of each other.
    pub fn pack(parts: &[Vec<f32>], inputs: usize) -> Self {
        let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
        Weights::Panels(Panels::pack(&parts, inputs))
    }

    /// Likewise, of a file's codes.
    pub fn coded(parts: &[Blocks], inputs: usize) -> Self {
        Weights::Coded(Coded::pack(parts, inputs))
    }

    /// Row `n` of the matrix, as f32.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        match self {
            Weights::Panels(panels) => panels.row(n, out),
            Weights::Coded(coded) => coded.row(n, out),
        }
    }

    /// For `x · Wᵀ`: the forward pass.
    pub fn straight(&self) -> View<'_> {
        View {
            weights: self,
            turned: false,
        }
    }

    /// For `dy · W`: the gradient of the input. The transpose is not stored: a stretch of it is made when its turn comes.
    pub fn transposed(&self) -> View<'_> {
        View {
            weights: self,
            turned: true,
        }
    }

    fn size(&self) -> [usize; 2] {
        match self {
            Weights::Panels(w) => [w.outputs, w.inputs],
            Weights::Coded(w) => [w.outputs, w.inputs],
        }
    }

    /// Fills the lines of a panel of the transpose, from pair `first` on: a block of every panel of the matrix.
    fn turn(&self, panel: usize, first: usize, lines: &mut [Line]) {
        assert!((2 * first).is_multiple_of(PANEL));
        let mut block = [ZERO; PANEL];
        for (own, lines) in (2 * first / PANEL..).zip(lines.chunks_mut(PANEL)) {
            match self {
                Weights::Panels(w) => {
                    let lines = &w.lines[own * w.panel_lines()..(own + 1) * w.panel_lines()];
                    let lines = &lines[PANEL * panel..(PANEL * panel + PANEL).min(lines.len())];
                    block[..lines.len()].copy_from_slice(lines);
                    block[lines.len()..].fill(ZERO);
                }
                Weights::Coded(w) => w.widen(own, panel * PANEL / 2, &mut block),
            }
            turned::turn(&block, lines);
        }
    }
}

/// Weights as a product sees them.
#[derive(Clone, Copy)]
pub struct View<'a> {
    weights: &'a Weights,
    turned: bool,
}

impl<'a> View<'a> {
    pub(super) fn outputs(&self) -> usize {
        self.weights.size()[usize::from(self.turned)]
    }

    pub(super) fn inputs(&self) -> usize {
        self.weights.size()[usize::from(!self.turned)]
    }

    /// The codes, where they are multiplied as they lie.
    pub(super) fn codes(&self) -> Option<&'a Coded> {
        match self.weights {
            Weights::Coded(coded) if !self.turned => Some(coded),
            _ => None,
        }
    }

    /// The lines of `length` pairs of a panel from `first` on, a multiple of 16: where they lie, or made in the
    /// buffer.
    pub(super) fn lines<'b>(
        &self,
        panel: usize,
        first: usize,
        length: usize,
        buffer: &'b mut Vec<Line>,
    ) -> &'b [Line]
    where
        'a: 'b,
    {
        if let (Weights::Panels(w), false) = (self.weights, self.turned) {
            let from = panel * w.panel_lines() + 2 * first;
            return &w.lines[from..from + 2 * length];
        }
        buffer.resize(2 * length, ZERO);
        match self.codes() {
            Some(coded) => coded.widen(panel, first, buffer),
            None => self.weights.turn(panel, first, buffer),
        }
        buffer
    }
}
