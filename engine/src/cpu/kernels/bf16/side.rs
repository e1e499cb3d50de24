//! Adapters beside the frozen product while they are trained: the second product of a pair is a few more columns
//! of the frozen one, so y is read and written once for both.

use super::lines::{WIDE, columns_to_line, rows_to_lines};
use super::panels::{Line, PANEL, ZERO, pair};
use super::rows::Rows;
use super::tile::{Place, Tile};
use rayon::prelude::*;

/// What is added to a frozen product: `inner · Wᵀ`, W another one for each adapter.
pub struct Beside<'a> {
    /// Cut as the frozen product's rows are.
    pub inner: &'a Rows,
    pub owners: &'a [Option<usize>],
    pub sides: &'a [Side],
}

impl Beside<'_> {
    /// That it fits a frozen product.
    pub(super) fn check(&self, x: &Rows, outputs: usize) {
        assert!(self.inner.blocks == x.blocks && self.owners.len() == x.blocks.len());
        let pairs = self.inner.inputs.div_ceil(2);
        for side in self.sides {
            assert_eq!(side.panels.len(), outputs.div_ceil(PANEL));
            assert!(side.panels.iter().all(|p| p.from + p.pairs <= pairs));
        }
    }

    /// Adds what a block's owner has to say to a panel of outputs.
    ///
    /// # Safety
    /// As [`Tile::run`].
    pub(super) unsafe fn add(
        &self,
        block: usize,
        panel: usize,
        (row, rows): (usize, usize),
        place: Place,
    ) {
        let Some(owner) = self.owners[block] else {
            return;
        };
        let side = &self.sides[owner];
        let Panel { from, pairs, first } = side.panels[panel];
        if pairs == 0 {
            return;
        }
        let start = row * self.inner.inputs.div_ceil(2) + from * rows;
        let tile = Tile {
            x: &self.inner.pairs[start..start + pairs * rows],
            rows,
            lines: &side.lines[first..first + 2 * pairs],
            place,
        };
        // SAFETY: the caller's promise.
        unsafe { tile.run() }
    }
}

/// The second matrices of an adapter's pairs, in panels like the frozen product's; each panel has only the
/// columns of `inner` that matter to it.
pub struct Side {
    panels: Vec<Panel>,
    lines: Vec<Line>,
}

#[derive(Clone, Copy)]
struct Panel {
    /// Its first pair of `inner`, and how many it has.
    from: usize,
    pairs: usize,
    /// Its first line.
    first: usize,
}

/// A pair's second matrix: the rows of y that it makes, and the columns of inner that it takes.
pub struct Second<'a> {
    pub w: &'a [f32],
    pub rank: usize,
    /// Its first column of y.
    pub column: usize,
    /// Its first pair of inner.
    pub from: usize,
    pub scale: f32,
}

impl Side {
    /// Of B's, `[features, rank]` each: every output has its own member's columns.
    pub fn of_rows(members: &[Second], outputs: usize) -> Self {
        let mut side = Side::room(members, outputs, |m| m.w.len() / m.rank);
        side.fill(|column, half, panel, lines| {
            for m in members {
                let features = m.w.len() / m.rank;
                let first = m.column.max(column);
                let last = (m.column + features).min(column + WIDE);
                if first < last {
                    let w = &m.w[(first - m.column) * m.rank..(last - m.column) * m.rank];
                    let lines = &mut lines[2 * (m.from - panel.from) + half..];
                    match first == column {
                        true => rows_to_lines(w, m.rank, m.scale, lines, 2),
                        // A member that begins within a line of outputs.
                        false => {
                            for (j, row) in w.chunks_exact(m.rank).enumerate() {
                                for (k, both) in row.chunks(2).enumerate() {
                                    let high = both.get(1).copied().unwrap_or(0.0);
                                    let both = pair(m.scale * both[0], m.scale * high);
                                    lines[2 * k].0[first - column + j] = both;
                                }
                            }
                        }
                    }
                }
            }
        });
        side
    }

    /// Of A's, `[rank, outputs]` each: every output has all members' columns.
    pub fn of_columns(members: &[Second], outputs: usize) -> Self {
        let mut side = Side::room(members, outputs, |_| outputs);
        side.fill(|column, half, panel, lines| {
            // The last panel's second half may have no output.
            let width = WIDE.min(outputs.saturating_sub(column));
            let members = if width == 0 { &[] } else { members };
            for m in members {
                let lines = &mut lines[2 * (m.from - panel.from)..];
                for (both, lines) in m.w.chunks(2 * outputs).zip(lines.chunks_exact_mut(2)) {
                    let (low, high) = both.split_at(outputs);
                    let high = high.get(column..column + width).unwrap_or(&[]);
                    columns_to_line(
                        &low[column..column + width],
                        high,
                        m.scale,
                        &mut lines[half],
                    );
                }
            }
        });
        side
    }

    /// Panels with room for the columns of the members that have a part in them.
    fn room(members: &[Second], outputs: usize, features: impl Fn(&Second) -> usize) -> Self {
        let mut first = 0;
        let panel = |column: usize| {
            let of = |m: &&Second| m.column < column + PANEL && column < m.column + features(m);
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
        Side {
            panels,
            lines: vec![ZERO; first],
        }
    }

    /// Has both halves of every panel filled: (first output, half, panel, lines).
    fn fill(&mut self, fill: impl Fn(usize, usize, Panel, &mut [Line]) + Sync) {
        let mut rest = &mut self.lines[..];
        let mut tasks = Vec::with_capacity(self.panels.len());
        for (nth, panel) in self.panels.iter().enumerate() {
            let (mine, others) = rest.split_at_mut(2 * panel.pairs);
            rest = others;
            tasks.push((nth, *panel, mine));
        }
        tasks
            .into_par_iter()
            .with_min_len(4)
            .for_each(|(nth, panel, lines)| {
                for half in 0..2 {
                    fill(nth * PANEL + half * WIDE, half, panel, lines);
                }
            });
    }
}

#[cfg(test)]
mod tests {
    use super::super::slim::tests::{cut, near, owner, round};
    use super::super::{Weights, multiply_beside};
    use super::*;
    use crate::cpu::kernels::{Start, numbers};

    #[test]
    fn what_is_beside_a_product_is_added_to_the_rows_of_its_adapter() {
        for rank in [6, 5, 34] {
            is_added(rank);
        }
    }

    fn is_added(rank: usize) {
        let (blocks, owners) = cut();
        // Two members of y, the second of which begins within a line; the first adapter lacks one of them.
        let (inputs, features, wide) = (70, [40, 30], rank.next_multiple_of(2));
        let outputs = features[0] + features[1];
        let (x, w) = (numbers(31 * inputs, 1), numbers(outputs * inputs, 2));
        let inner = numbers(31 * 2 * wide, 3);
        let (mut packed, mut inner_packed) = (Rows::default(), Rows::default());
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
        let side = |adapter: usize, turned: bool| {
            let members: Vec<Second> = (0..2)
                .filter(|m| has(adapter, *m))
                .map(|m| Second {
                    w: if turned {
                        &a[2 * adapter + m]
                    } else {
                        &b[2 * adapter + m]
                    },
                    rank,
                    column: if turned { 0 } else { m * features[0] },
                    from: m * wide / 2,
                    scale,
                })
                .collect();
            match turned {
                true => Side::of_columns(&members, outputs),
                false => Side::of_rows(&members, outputs),
            }
        };
        let weights = Weights::pack(std::slice::from_ref(&w), inputs);
        for turned in [false, true] {
            let sides = [side(0, turned), side(1, turned)];
            let beside = Beside {
                inner: &inner_packed,
                owners: &owners,
                sides: &sides,
            };
            let mut y = vec![f32::NAN; 31 * outputs];
            multiply_beside(
                &packed,
                weights.straight(),
                &mut y,
                Start::Zero,
                Some(&beside),
            );
            for (row, y) in y.chunks_exact(outputs).enumerate() {
                for (o, y) in y.iter().enumerate() {
                    let dot =
                        (0..inputs).map(|i| round(x[row * inputs + i]) * round(w[o * inputs + i]));
                    let mut want = dot.sum::<f64>();
                    let member = usize::from(o >= features[0]);
                    for m in 0..2 {
                        let Some(adapter) = owner(row).filter(|a| has(*a, m)) else {
                            continue;
                        };
                        if !turned && m != member {
                            continue;
                        }
                        for r in 0..rank {
                            let w = match turned {
                                true => a[2 * adapter + m][r * outputs + o],
                                false => b[2 * adapter + m][(o - m * features[0]) * rank + r],
                            };
                            want += round(scale * w) * round(inner[row * 2 * wide + m * wide + r]);
                        }
                    }
                    near(*y, want, &format!("row {row}, output {o}, turned {turned}"));
                }
            }
        }
    }
}
