//! What adapters change beyond their pairs ([`crate::lora::Extras`]), as it is served: DoRA's factors, computed once
//! from the frozen weights as they are packed here; biases; and the token tables of single adapters. Training has
//! none of it.

use super::kernels::bf16::PackedRows;
use super::linear::{Format, Linear, Write};
use super::lora::Group;
use super::plan::Plan;
use super::shape::Shape;
use super::weights::Weights;
use crate::config::Projection;
use crate::lora::{Extras, Lora, dora_gain};
use crate::weights::Matrix;
use rayon::prelude::*;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// What is made of one adapter's extras before it is served.
struct Ready {
    /// DoRA's factor of each output, by layer and projection.
    gains: Vec<[Option<Vec<f32>>; 7]>,
    /// The output projection that replaces the base's.
    head: Option<Linear>,
}

/// The adapters' extras that are still in use, by address (as in [`super::lora_bf16`]).
#[derive(Default)]
pub struct ExtrasCache {
    known: HashMap<usize, (Weak<Lora>, Arc<Ready>)>,
}

/// The extras of a batch.
#[derive(Default)]
pub struct BatchExtras {
    adapters: Vec<Option<(Arc<Extras>, Arc<Ready>)>>,
    /// The rows of each adapter that has any, ascending.
    rows: Vec<(Range<usize>, usize)>,
}

impl ExtrasCache {
    /// The extras of a batch's adapters, made ready now if they are new; drops those that are gone.
    pub fn serve(
        &mut self,
        plan: &Plan,
        weights: &Weights,
        shape: &Shape,
        format: Format,
    ) -> BatchExtras {
        self.known.retain(|_, (used, _)| used.strong_count() > 0);
        let adapters = plan.adapters.iter().map(|adapter| {
            let extras = adapter.extras.clone()?;
            let entry = self.known.entry(Arc::as_ptr(adapter) as usize);
            let make = || {
                (
                    Arc::downgrade(adapter),
                    Arc::new(Ready::new(adapter, weights, shape, format)),
                )
            };
            Some((extras, entry.or_insert_with(make).1.clone()))
        });
        let adapters: Vec<_> = adapters.collect();
        // An adapter with extras stands alone in its stack, so its rows are of the first level.
        let segments = plan.levels.iter().flatten();
        let rows = segments.filter(|s| adapters[s.adapter].is_some());
        BatchExtras {
            rows: rows.map(|s| (s.rows.clone(), s.adapter)).collect(),
            adapters,
        }
    }
}

impl Ready {
    fn new(lora: &Lora, weights: &Weights, shape: &Shape, format: Format) -> Self {
        let mut ready = Ready {
            gains: (0..lora.layers.len()).map(|_| Default::default()).collect(),
            head: None,
        };
        let Some(extras) = &lora.extras else {
            return ready;
        };
        let layers = ready.gains.par_iter_mut().zip(&extras.layers).enumerate();
        layers.for_each(|(l, (gains, extras))| {
            for group in 0..GROUPS {
                let linear = weights.layers[l].linear(group);
                for (projection, column) in shape.members(group) {
                    let index = projection.index();
                    let Some(magnitude) = &extras[index].magnitude else {
                        continue;
                    };
                    let pair = lora.layers[l][index]
                        .as_ref()
                        .map(|p| (p, lora.config.scale()));
                    let row = |j: usize, out: &mut [f32]| linear.row(column + j, out);
                    gains[index] = Some(dora_gain(magnitude, pair, row, linear.inputs));
                }
            }
        });
        let whole = extras.head.as_ref().and_then(|head| head.whole.as_ref());
        let head = |table: &Vec<f32>| {
            let table = vec![Matrix::Floats(table.clone())];
            Linear::new(table, shape.hidden, None, format)
        };
        ready.head = whole.map(head);
        ready
    }
}

/// The number of groups of linear layers.
const GROUPS: usize = 4;

impl BatchExtras {
    /// Turns the base's embeddings `h[T, hidden]` of the tokens into the adapters'.
    pub fn embed(&self, tokens: &[u32], hidden: usize, h: &mut [f32]) {
        for (rows, extras, _) in self.parts() {
            let Some(table) = &extras.embedding else {
                continue;
            };
            let h = &mut h[rows.start * hidden..rows.end * hidden];
            for (token, h) in tokens[rows].iter().zip(h.chunks_exact_mut(hidden)) {
                table.embed(*token as usize, h);
            }
        }
    }

    /// Turns the base's logits of some rows of the batch into the adapters'; `x[n, hidden]` are the rows' normed
    /// hidden states.
    pub fn score(
        &self,
        rows: impl Iterator<Item = usize>,
        x: &[f32],
        hidden: usize,
        logits: &mut [f32],
        packed: &mut PackedRows,
    ) {
        if self.rows.is_empty() {
            return;
        }
        let n = x.len() / hidden;
        let vocab = logits.len() / n.max(1);
        for ((row, x), y) in rows
            .zip(x.chunks_exact(hidden))
            .zip(logits.chunks_exact_mut(vocab))
        {
            let Some((_, extras, ready)) = self.parts().find(|(rows, ..)| rows.contains(&row))
            else {
                continue;
            };
            if let Some(head) = &ready.head {
                head.forward(x, y, Write::Overwrite, packed);
            }
            if let Some(pair) = extras.head.as_ref().and_then(|head| head.pair.as_ref()) {
                pair.add_logits(x, y);
            }
        }
    }

    /// Whether the outputs of these projections of a layer must be [`Group::finish`]ed.
    pub fn touch(&self, layer: usize, members: &[(Projection, usize)]) -> bool {
        self.parts().any(|(_, extras, _)| {
            let mut members = members.iter();
            members.any(|(p, _)| !extras.layers[layer][p.index()].is_empty())
        })
    }

    fn parts(&self) -> impl Iterator<Item = (Range<usize>, &Extras, &Ready)> {
        self.rows.iter().filter_map(|(rows, adapter)| {
            let (extras, ready) = self.adapters[*adapter].as_ref()?;
            Some((rows.clone(), &**extras, &**ready))
        })
    }
}

impl Group<'_> {
    /// Turns `y = W·x + bias + s·B·A·x` into `g ⊙ (y − bias) + bias + lora_bias` on the rows of adapters that have
    /// the factor g or the bias.
    pub(super) fn finish(&self, batch: &BatchExtras, bias: Option<&[f32]>, y: &mut [f32]) {
        for (rows, extras, ready) in batch.parts() {
            let y = &mut y[rows.start * self.outputs..rows.end * self.outputs];
            for (projection, column) in self.members {
                let own = &extras.layers[self.layer][projection.index()];
                if let Some(gain) = &ready.gains[self.layer][projection.index()] {
                    for y in y.chunks_exact_mut(self.outputs) {
                        let y = &mut y[*column..][..gain.len()];
                        match bias.map(|b| &b[*column..]) {
                            None => y.iter_mut().zip(gain).for_each(|(y, g)| *y *= g),
                            Some(bias) => {
                                let factors = gain.iter().zip(bias);
                                for (y, (g, b)) in y.iter_mut().zip(factors) {
                                    *y = g * (*y - b) + b;
                                }
                            }
                        }
                    }
                }
                if let Some(bias) = &own.bias {
                    for y in y.chunks_exact_mut(self.outputs) {
                        let y = &mut y[*column..][..bias.len()];
                        y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                    }
                }
            }
        }
    }
}
