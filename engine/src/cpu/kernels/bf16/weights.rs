//! A frozen matrix, and how a product sees it: as stored, or transposed.

use super::codes::GROUP_VECTORS;
use super::panels::{PANEL, PairVector, Panels, ZERO};
use super::quantised::QuantisedPanels;
use super::transpose::transpose_block;
use crate::weights::Blocks;

// A panel is transposed one group of codes at a time.
const _: () = assert!(GROUP_VECTORS == PANEL);

/// A frozen matrix `[outputs, inputs]`.
pub enum Weights {
    Panels(Panels),
    Quantised(QuantisedPanels),
}

impl Weights {
    /// Packs matrices `[n_i, inputs]`, stacked on top of each other.
    pub fn pack(parts: &[Vec<f32>], inputs: usize) -> Self {
        let parts: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
        Weights::Panels(Panels::pack(&parts, inputs))
    }

    /// Packs a quantised file's matrices, stacked likewise; their codes stay codes.
    pub fn quantised(parts: &[Blocks], inputs: usize) -> Self {
        Weights::Quantised(QuantisedPanels::pack(parts, inputs))
    }

    /// Row `n` of the matrix, as f32.
    pub fn row(&self, n: usize, out: &mut [f32]) {
        match self {
            Weights::Panels(panels) => panels.row(n, out),
            Weights::Quantised(quantised) => quantised.row(n, out),
        }
    }

    /// For `x · Wᵀ`: the forward pass.
    pub fn as_stored(&self) -> View<'_> {
        View {
            weights: self,
            transposed: false,
        }
    }

    /// For `dy · W`: the gradient of the input. The transpose is not stored; a block of it is made when its turn
    /// comes.
    pub fn transposed(&self) -> View<'_> {
        View {
            weights: self,
            transposed: true,
        }
    }

    fn size(&self) -> [usize; 2] {
        match self {
            Weights::Panels(w) => [w.outputs, w.inputs],
            Weights::Quantised(w) => [w.outputs, w.inputs],
        }
    }

    /// Fills the vectors of a panel of the transpose, from pair `first` on, out of one block of each panel of the
    /// matrix.
    fn transpose(&self, panel: usize, first: usize, vectors: &mut [PairVector]) {
        assert!((2 * first).is_multiple_of(PANEL));
        let mut block = [ZERO; PANEL];
        for (own, vectors) in (2 * first / PANEL..).zip(vectors.chunks_mut(PANEL)) {
            match self {
                Weights::Panels(w) => {
                    let vectors =
                        &w.vectors[own * w.panel_vectors()..(own + 1) * w.panel_vectors()];
                    let vectors =
                        &vectors[PANEL * panel..(PANEL * panel + PANEL).min(vectors.len())];
                    block[..vectors.len()].copy_from_slice(vectors);
                    block[vectors.len()..].fill(ZERO);
                }
                Weights::Quantised(w) => w.dequantise(own, panel * PANEL / 2, &mut block),
            }
            transpose_block(&block, vectors);
        }
    }
}

/// A matrix as a product sees it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    weights: &'a Weights,
    transposed: bool,
}

impl<'a> View<'a> {
    pub(super) fn outputs(&self) -> usize {
        self.weights.size()[usize::from(self.transposed)]
    }

    pub(super) fn inputs(&self) -> usize {
        self.weights.size()[usize::from(!self.transposed)]
    }

    /// The codes, where the product reads them as stored.
    pub(super) fn quantised(&self) -> Option<&'a QuantisedPanels> {
        match self.weights {
            Weights::Quantised(quantised) if !self.transposed => Some(quantised),
            _ => None,
        }
    }

    /// The vectors of `length` pairs of a panel, from pair `first` on (a multiple of 16). Vectors that are not
    /// stored are made in the buffer.
    pub(super) fn vectors<'b>(
        &self,
        panel: usize,
        first: usize,
        length: usize,
        buffer: &'b mut Vec<PairVector>,
    ) -> &'b [PairVector]
    where
        'a: 'b,
    {
        if let (Weights::Panels(w), false) = (self.weights, self.transposed) {
            let from = panel * w.panel_vectors() + 2 * first;
            return &w.vectors[from..from + 2 * length];
        }
        buffer.resize(2 * length, ZERO);
        match self.quantised() {
            Some(quantised) => quantised.dequantise(panel, first, buffer),
            None => self.weights.transpose(panel, first, buffer),
        }
        buffer
    }
}
