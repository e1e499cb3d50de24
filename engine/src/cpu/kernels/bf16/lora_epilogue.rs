//! The LoRA epilogue of the frozen product, used in training: each tile gets the second product of the
//! adapters' pairs added, so y is read and written once for both products.

use super::activations::PackedRows;
use super::amx::Registers;
use super::pack::{LANES, pack_columns, pack_rows};
use super::panels::{PANEL, PairVector, ZERO, pair};
use super::tile::{OutputTile, Tile};
use rayon::prelude::*;

/// What is added to a frozen product: `inner · Wᵀ`, with a W of its own for each adapter.
pub struct LoraEpilogue<'a> {
    /// The first product, in the same row blocks as the frozen product's x.
    pub inner: &'a PackedRows,
    /// The adapter of each row block.
    pub block_adapters: &'a [Option<usize>],
    /// Of each adapter.
    pub weights: &'a [EpilogueWeights],
}

impl LoraEpilogue<'_> {
    /// Panics if the epilogue does not fit the frozen product.
    pub(super) fn check(&self, x: &PackedRows, outputs: usize) {
        assert!(self.inner.blocks == x.blocks && self.block_adapters.len() == x.blocks.len());
        let pairs = self.inner.inputs.div_ceil(2);
        for weights in self.weights {
            assert_eq!(weights.panels.len(), outputs.div_ceil(PANEL));
            assert!(weights.panels.iter().all(|p| p.from + p.pairs <= pairs));
        }
    }

    /// Adds the product of a row block's adapter to one panel of outputs.
    ///
    /// # Safety
    /// As [`Tile::run`].
    pub(super) unsafe fn add(
        &self,
        block: usize,
        panel: usize,
        out: OutputTile,
        registers: &mut Registers,
    ) {
        let Some(adapter) = self.block_adapters[block] else {
            return;
        };
        let weights = &self.weights[adapter];
        let Panel { from, pairs, first } = weights.panels[panel];
        if pairs == 0 {
            return;
        }
        let tile = Tile {
            x: self.inner.part(block, from, pairs),
            weights: &weights.vectors[first..first + 2 * pairs],
            out,
        };
        // SAFETY: the caller's promise.
        unsafe { tile.run(registers) }
    }
}

/// The second matrices of an adapter's pairs, in panels like the frozen product's. A panel holds only the
/// columns of `inner` that its outputs read.
pub struct EpilogueWeights {
    panels: Vec<Panel>,
    vectors: Vec<PairVector>,
}

#[derive(Clone, Copy)]
struct Panel {
    /// Its first pair of `inner`, and the number of its pairs.
    from: usize,
    pairs: usize,
    /// Its first vector.
    first: usize,
}

/// The second matrix of a LoRA pair: B in the forward pass, A in the backward pass.
pub struct Factor<'a> {
    /// `[features, rank]` or `[rank, outputs]`
    pub w: &'a [f32],
    pub rank: usize,
    /// Its first column of y.
    pub column: usize,
    /// Its first pair of inner.
    pub from: usize,
    pub scale: f32,
}

impl EpilogueWeights {
    /// From B matrices, `[features, rank]` each: an output reads the columns of the member that it belongs to.
    pub fn of_rows(members: &[Factor], outputs: usize) -> Self {
        let mut weights = EpilogueWeights::zeros(members, outputs, |m| m.w.len() / m.rank);
        weights.fill(|column, half, panel, vectors| {
            for m in members {
                let features = m.w.len() / m.rank;
                let first = m.column.max(column);
                let last = (m.column + features).min(column + LANES);
                if first < last {
                    let w = &m.w[(first - m.column) * m.rank..(last - m.column) * m.rank];
                    let vectors = &mut vectors[2 * (m.from - panel.from) + half..];
                    match first == column {
                        true => pack_rows(w, m.rank, m.scale, vectors, 2),
                        // A member that begins within a vector of outputs.
                        false => {
                            for (j, row) in w.chunks_exact(m.rank).enumerate() {
                                for (k, both) in row.chunks(2).enumerate() {
                                    let high = both.get(1).copied().unwrap_or(0.0);
                                    let both = pair(m.scale * both[0], m.scale * high);
                                    vectors[2 * k].0[first - column + j] = both;
                                }
                            }
                        }
                    }
                }
            }
        });
        weights
    }

    /// From A matrices, `[rank, outputs]` each: an output reads the columns of all members.
    pub fn of_columns(members: &[Factor], outputs: usize) -> Self {
        let mut weights = EpilogueWeights::zeros(members, outputs, |_| outputs);
        weights.fill(|column, half, panel, vectors| {
            // The last panel's second half may have no output.
            let width = LANES.min(outputs.saturating_sub(column));
            let members = if width == 0 { &[] } else { members };
            for m in members {
                let vectors = &mut vectors[2 * (m.from - panel.from)..];
                for (both, vectors) in m.w.chunks(2 * outputs).zip(vectors.chunks_exact_mut(2)) {
                    let (low, high) = both.split_at(outputs);
                    let high = high.get(column..column + width).unwrap_or(&[]);
                    pack_columns(
                        &low[column..column + width],
                        high,
                        m.scale,
                        &mut vectors[half],
                    );
                }
            }
        });
        weights
    }

    /// Zeros, with room in each panel for the columns of the members that it reads.
    fn zeros(members: &[Factor], outputs: usize, features: impl Fn(&Factor) -> usize) -> Self {
        let mut first = 0;
        let panel = |column: usize| {
            let of = |m: &&Factor| m.column < column + PANEL && column < m.column + features(m);
            let from = members.iter().filter(of).map(|m| m.from).min().unwrap_or(0);
            let end = members
                .iter()
                .filter(of)
                .map(|m| m.from + m.rank.div_ceil(2))
                .max();
            let pairs = end.map_or(0, |end| end - from);
            first += 2 * pairs;
            Panel {
                from,
                pairs,
                first: first - 2 * pairs,
            }
        };
        let panels: Vec<Panel> = (0..outputs).step_by(PANEL).map(panel).collect();
        EpilogueWeights {
            panels,
            vectors: vec![ZERO; first],
        }
    }

    /// Calls `fill` for both halves of every panel: (first output, half, panel, vectors).
    fn fill(&mut self, fill: impl Fn(usize, usize, Panel, &mut [PairVector]) + Sync) {
        let mut rest = &mut self.vectors[..];
        let mut tasks = Vec::with_capacity(self.panels.len());
        for (nth, panel) in self.panels.iter().enumerate() {
            let (mine, others) = rest.split_at_mut(2 * panel.pairs);
            rest = others;
            tasks.push((nth, *panel, mine));
        }
        tasks
            .into_par_iter()
            .with_min_len(4)
            .for_each(|(nth, panel, vectors)| {
                for half in 0..2 {
                    fill(nth * PANEL + half * LANES, half, panel, vectors);
                }
            });
    }
}

#[cfg(test)]
mod tests {
    use super::super::skinny::tests::{ROWS, adapter_of, near, round, row_blocks_of_adapters};
    use super::super::{Weights, multiply_with_lora};
    use super::*;
    use crate::cpu::kernels::{Init, numbers};

    #[test]
    fn the_epilogue_is_added_to_the_rows_of_its_adapter() {
        for rank in [6, 5, 34] {
            is_added(rank);
        }
    }

    fn is_added(rank: usize) {
        let (blocks, block_adapters) = row_blocks_of_adapters();
        // Two members of y, the second of which begins within a vector; the first adapter lacks one of them.
        let (inputs, features, wide) = (70, [40, 30], rank.next_multiple_of(2));
        let outputs = features[0] + features[1];
        let (x, w) = (numbers(ROWS * inputs, 1), numbers(outputs * inputs, 2));
        let inner = numbers(ROWS * 2 * wide, 3);
        let (mut packed, mut inner_packed) = (PackedRows::default(), PackedRows::default());
        packed.pack_blocks(&x, inputs, &blocks);
        inner_packed.pack_blocks(&inner, 2 * wide, &blocks);
        let b: Vec<Vec<f32>> = (0..4)
            .map(|i| numbers(features[i % 2] * rank, 4 + i as u32))
            .collect();
        let a: Vec<Vec<f32>> = (0..4)
            .map(|i| numbers(outputs * rank, 8 + i as u32))
            .collect();
        let has = |adapter: usize, member: usize| adapter == 1 || member == 1;
        let scale = 0.5f32;
        let weights_of = |adapter: usize, transposed: bool| {
            let members: Vec<Factor> = (0..2)
                .filter(|m| has(adapter, *m))
                .map(|m| Factor {
                    w: if transposed {
                        &a[2 * adapter + m]
                    } else {
                        &b[2 * adapter + m]
                    },
                    rank,
                    column: if transposed { 0 } else { m * features[0] },
                    from: m * wide / 2,
                    scale,
                })
                .collect();
            match transposed {
                true => EpilogueWeights::of_columns(&members, outputs),
                false => EpilogueWeights::of_rows(&members, outputs),
            }
        };
        let weights = Weights::pack(std::slice::from_ref(&w), inputs);
        for transposed in [false, true] {
            let epilogue = [weights_of(0, transposed), weights_of(1, transposed)];
            let lora = LoraEpilogue {
                inner: &inner_packed,
                block_adapters: &block_adapters,
                weights: &epilogue,
            };
            let mut y = vec![f32::NAN; ROWS * outputs];
            multiply_with_lora(
                &packed,
                weights.as_stored(),
                &mut y,
                Init::Zero,
                Some(&lora),
            );
            for (row, y) in y.chunks_exact(outputs).enumerate() {
                for (o, y) in y.iter().enumerate() {
                    let dot =
                        (0..inputs).map(|i| round(x[row * inputs + i]) * round(w[o * inputs + i]));
                    let mut want = dot.sum::<f64>();
                    let member = usize::from(o >= features[0]);
                    for m in 0..2 {
                        let Some(adapter) = adapter_of(row).filter(|a| has(*a, m)) else {
                            continue;
                        };
                        if !transposed && m != member {
                            continue;
                        }
                        for r in 0..rank {
                            let w = match transposed {
                                true => a[2 * adapter + m][r * outputs + o],
                                false => b[2 * adapter + m][(o - m * features[0]) * rank + r],
                            };
                            want += round(scale * w) * round(inner[row * 2 * wide + m * wide + r]);
                        }
                    }
                    near(
                        *y,
                        want,
                        &format!("row {row}, output {o}, transposed {transposed}"),
                    );
                }
            }
        }
    }
}
