//! Adapters as they are served beside bf16 weights: their matrices rounded to bf16 and packed once, when an
//! adapter is first used, and their part of a forward pass. Training starts from the f32 originals
//! ([`super::lora_fused`]).

use super::kernels::sgmv::{Bf16Matrix, Part, Task, multiply};
use super::lora::Group;
use super::plan::Segment;
use crate::lora::Lora;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

/// An adapter in bf16: A and B of every pair.
pub struct Bf16Lora {
    layers: Vec<[Option<(Bf16Matrix, Bf16Matrix)>; 7]>,
}

/// The packed adapters that are still in use.
#[derive(Default)]
pub struct LoraCache {
    /// By address. The weak reference keeps the address from being given to another adapter. It also makes
    /// `Arc::make_mut` move an adapter that is trained further, so an entry is never out of date.
    known: HashMap<usize, (Weak<Lora>, Arc<Bf16Lora>)>,
}

/// The adapters of a batch, and the rows that each corrects.
pub struct BatchLoras {
    adapters: Vec<Arc<Bf16Lora>>,
    /// The rows of each adapter, by level; they need not be neighbours.
    levels: Vec<BTreeMap<usize, Vec<usize>>>,
}

impl LoraCache {
    /// The adapters of a batch, packed now if they are new; drops those that are gone.
    pub fn serve(&mut self, adapters: &[Arc<Lora>], levels: &[Vec<Segment>]) -> BatchLoras {
        self.known.retain(|_, (used, _)| used.strong_count() > 0);
        BatchLoras {
            adapters: adapters.iter().map(|a| self.one(a)).collect(),
            levels: levels.iter().map(|level| rows_by_adapter(level)).collect(),
        }
    }

    fn one(&mut self, adapter: &Arc<Lora>) -> Arc<Bf16Lora> {
        let pack = || (Arc::downgrade(adapter), Arc::new(Bf16Lora::pack(adapter)));
        let address = Arc::as_ptr(adapter) as usize;
        self.known.entry(address).or_insert_with(pack).1.clone()
    }
}

fn rows_by_adapter(level: &[Segment]) -> BTreeMap<usize, Vec<usize>> {
    let mut rows = BTreeMap::<usize, Vec<usize>>::new();
    for segment in level {
        let of = rows.entry(segment.adapter).or_default();
        of.extend(segment.rows.clone());
    }
    rows
}

impl Bf16Lora {
    fn pack(lora: &Lora) -> Self {
        let rank = lora.config.rank;
        let layers = lora.layers.par_iter().map(|layer| {
            layer.each_ref().map(|pair| {
                let pair = pair.as_ref()?;
                let inputs = pair.a.len() / rank;
                Some((
                    Bf16Matrix::pack(&pair.a, inputs),
                    Bf16Matrix::pack(&pair.b, rank),
                ))
            })
        });
        Bf16Lora {
            layers: layers.collect(),
        }
    }
}

impl Group<'_> {
    /// [`Group::forward`] with adapters in bf16.
    pub(super) fn forward_bf16(
        &self,
        loras: &BatchLoras,
        x: &[f32],
        y: &mut [f32],
        inner: &mut [f32],
    ) {
        for ((_, inner), rows) in self.levels(inner).zip(&loras.levels) {
            let down = self.tasks_bf16(loras, rows, |(a, _), _, _, column| Part {
                w: a,
                from: 0,
                to: column,
                scale: 1.0,
            });
            multiply(&down, x, self.inputs, inner, self.width(), false);
            let up = self.tasks_bf16(loras, rows, |(_, b), scale, column, from| Part {
                w: b,
                from,
                to: column,
                scale,
            });
            multiply(&up, inner, self.width(), y, self.outputs, true);
        }
    }

    /// A task for each adapter of a level. `part` makes the task's parts from each pair in this group, its scale,
    /// and its first columns in y and in inner.
    fn tasks_bf16<'p>(
        &'p self,
        loras: &'p BatchLoras,
        rows: &'p BTreeMap<usize, Vec<usize>>,
        part: impl Fn(&'p (Bf16Matrix, Bf16Matrix), f32, usize, usize) -> Part<'p>,
    ) -> Vec<Task<'p>> {
        let task = |(adapter, rows): (&usize, &'p Vec<usize>)| {
            let layer = &loras.adapters[*adapter].layers[self.layer];
            let scale = self.plan.adapters[*adapter].config.scale();
            let members = self.members.iter().enumerate();
            let parts = members.filter_map(|(i, (projection, column))| {
                let pair = layer[projection.index()].as_ref()?;
                Some(part(pair, scale, *column, i * self.plan.rank))
            });
            Task {
                rows,
                parts: parts.collect(),
            }
        };
        rows.iter().map(task).collect()
    }
}
