//! Adapters in training beside bf16 weights: a linear layer and its adapters' correction in one product, forward
//! and for the gradient of the input. x is packed once, and y is read and written once. The gradients of A and B
//! are computed in f32 ([`super::lora`]).

use super::kernels::bf16::lora_epilogue::{EpilogueWeights, Factor, LoraEpilogue};
use super::kernels::bf16::skinny::{self, Part, SkinnyMatrix};
use super::kernels::bf16::{PackedRows, row_blocks};
use super::linear::{Linear, Write};
use super::lora::{Group, LayerGrads};
use super::plan::Plan;
use super::shape::Shape;
use super::workspace::Packed;

/// The row blocks of a batch, cut so that no block has rows of two adapters.
pub struct FusedBlocks {
    blocks: Vec<(usize, usize)>,
    /// The adapter of each block.
    block_adapters: Vec<Option<usize>>,
}

impl FusedBlocks {
    /// `None` if the fused product does not apply: if adapters are stacked, if there are none, or if a projection
    /// begins at an odd column.
    pub fn new(plan: &Plan, shape: &Shape) -> Option<Self> {
        let [level] = plan.levels.as_slice() else {
            return None;
        };
        if !shape.has_even_columns() {
            return None;
        }
        let (mut fused, mut at) = (
            FusedBlocks {
                blocks: Vec::new(),
                block_adapters: Vec::new(),
            },
            0,
        );
        for segment in level {
            fused.cut(at..segment.rows.start, None);
            fused.cut(segment.rows.clone(), Some(segment.adapter));
            at = segment.rows.end;
        }
        fused.cut(at..plan.rows, None);
        Some(fused)
    }

    fn cut(&mut self, rows: std::ops::Range<usize>, adapter: Option<usize>) {
        self.blocks.extend(row_blocks(rows));
        self.block_adapters.resize(self.blocks.len(), adapter);
    }
}

impl Group<'_> {
    /// The layer's product with its adapters' correction. Keeps `x · Aᵀ` in `inner`.
    #[allow(clippy::too_many_arguments)]
    pub fn forward_fused(
        &self,
        fused: &FusedBlocks,
        linear: &Linear,
        x: &[f32],
        y: &mut [f32],
        write: Write,
        inner: &mut [f32],
        packed: &mut Packed,
    ) {
        packed.x.pack_blocks(x, self.inputs, &fused.blocks);
        let first = self.of_adapters(|adapter| {
            let parts = self.pairs(adapter).map(|(pair, _, _, at)| Part {
                w: SkinnyMatrix::of_rows(&pair.a, self.inputs),
                from: 0,
                to: at,
            });
            parts.collect()
        });
        self.first_product(fused, &packed.x, &first, inner);
        packed.inner.pack_blocks(inner, self.width(), &fused.blocks);
        let second = self.of_adapters(|adapter| {
            let members = self.pairs(adapter).map(|(pair, scale, column, at)| Factor {
                w: &pair.b,
                rank: self.plan.adapters[adapter].config.rank,
                column,
                from: at / 2,
                scale,
            });
            EpilogueWeights::of_rows(&members.collect::<Vec<_>>(), self.outputs)
        });
        let lora = LoraEpilogue {
            inner: &packed.inner,
            block_adapters: &fused.block_adapters,
            weights: &second,
        };
        linear.forward_with_lora(&packed.x, y, write, &lora);
    }

    /// Computes the gradient of x if `dx` is wanted, and adds the gradients of A and B to `grads`. `inner` is the
    /// `x · Aᵀ` that forward kept, `d_inner` scratch of the same length.
    #[allow(clippy::too_many_arguments)]
    pub fn backward_fused(
        &self,
        fused: &FusedBlocks,
        linear: &Linear,
        x: &[f32],
        dy: &[f32],
        dx: Option<&mut [f32]>,
        inner: &[f32],
        d_inner: &mut [f32],
        grads: &mut LayerGrads,
        packed: &mut Packed,
    ) {
        packed.x.pack_blocks(dy, self.outputs, &fused.blocks);
        let first = self.of_adapters(|adapter| {
            let rank = self.plan.adapters[adapter].config.rank;
            let parts = self.pairs(adapter).map(|(pair, scale, column, at)| Part {
                w: SkinnyMatrix::of_columns(&pair.b, rank, scale),
                from: column / 2,
                to: at,
            });
            parts.collect()
        });
        self.first_product(fused, &packed.x, &first, d_inner);
        if let Some(dx) = dx {
            packed
                .inner
                .pack_blocks(d_inner, self.width(), &fused.blocks);
            let second = self.of_adapters(|adapter| {
                let members = self.pairs(adapter).map(|(pair, _, _, at)| Factor {
                    w: &pair.a,
                    rank: self.plan.adapters[adapter].config.rank,
                    column: 0,
                    from: at / 2,
                    scale: 1.0,
                });
                EpilogueWeights::of_columns(&members.collect::<Vec<_>>(), self.inputs)
            });
            let lora = LoraEpilogue {
                inner: &packed.inner,
                block_adapters: &fused.block_adapters,
                weights: &second,
            };
            linear.input_grad_with_lora(&packed.x, dx, &lora);
        }
        self.weight_grads(&self.plan.levels[0], x, dy, inner, d_inner, grads);
    }

    fn first_product(
        &self,
        fused: &FusedBlocks,
        x: &PackedRows,
        parts: &[Vec<Part>],
        inner: &mut [f32],
    ) {
        // The second product reads the columns that no pair writes, too, with weights of 0.
        inner.fill(0.0);
        skinny::multiply(x, &fused.block_adapters, parts, inner, self.width());
    }

    fn of_adapters<T>(&self, make: impl Fn(usize) -> T) -> Vec<T> {
        (0..self.plan.adapters.len()).map(make).collect()
    }
}
