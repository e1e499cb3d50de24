//! Adapters as they are served beside weights in bf16: their matrices in bf16 too, packed when an adapter
//! is first asked, and their part of a forward pass. Training keeps the f32 originals.

use super::kernels::narrow::{Narrow, Part, Task, multiply};
use super::lora::Group;
use crate::config::Projection;
use crate::lora::Lora;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// A and B of every pair.
pub struct NarrowLora {
    layers: Vec<[Option<(Narrow, Narrow)>; 7]>,
}

/// The packed forms of the adapters that are still in use.
#[derive(Default)]
pub struct NarrowLoras {
    /// By address, which nobody else gets while the weak reference holds it; for the same reason a trainer that
    /// goes on (`Arc::make_mut`) moves its adapter to a new one, so an entry is never out of date.
    known: HashMap<usize, (Weak<Lora>, Arc<NarrowLora>)>,
}

impl NarrowLoras {
    pub fn of(&mut self, adapters: &[Arc<Lora>]) -> Vec<Arc<NarrowLora>> {
        adapters.iter().map(|a| self.one(a)).collect()
    }

    fn one(&mut self, adapter: &Arc<Lora>) -> Arc<NarrowLora> {
        let address = Arc::as_ptr(adapter) as usize;
        if let Some((_, packed)) = self.known.get(&address) {
            return packed.clone();
        }
        self.known.retain(|_, (used, _)| used.strong_count() > 0);
        let packed = Arc::new(NarrowLora::pack(adapter));
        let entry = (Arc::downgrade(adapter), packed.clone());
        self.known.insert(address, entry);
        packed
    }
}

impl NarrowLora {
    fn pack(lora: &Lora) -> Self {
        let rank = lora.config.rank;
        let layers = lora.layers.par_iter().map(|layer| {
            layer.each_ref().map(|pair| {
                let pair = pair.as_ref()?;
                let inputs = pair.a.len() / rank;
                Some((Narrow::pack(&pair.a, inputs), Narrow::pack(&pair.b, rank)))
            })
        });
        NarrowLora {
            layers: layers.collect(),
        }
    }
}

impl Group<'_> {
    /// [`Group::forward`] with the plan's packed adapters.
    pub(super) fn forward_narrow(&self, x: &[f32], y: &mut [f32], inner: &mut [f32]) {
        for (level, inner) in self.levels(inner) {
            let mut rows = vec![Vec::new(); self.plan.adapters.len()];
            for segment in level {
                rows[segment.adapter].extend(segment.rows.clone());
            }
            let used = || rows.iter().enumerate().filter(|(_, rows)| !rows.is_empty());
            let down = used().map(|(adapter, rows)| Task {
                rows,
                parts: self.parts(adapter, |(a, _), _, column| Part {
                    w: a,
                    from: 0,
                    to: column,
                    scale: 1.0,
                }),
            });
            let down: Vec<_> = down.collect();
            multiply(&down, x, self.inputs, inner, self.width(), false);
            let up = used().map(|(adapter, rows)| Task {
                rows,
                parts: self.parts(adapter, |(_, b), column, from| Part {
                    w: b,
                    from,
                    to: column,
                    scale: self.plan.adapters[adapter].config.scale(),
                }),
            });
            let up: Vec<_> = up.collect();
            multiply(&up, inner, self.width(), y, self.outputs, true);
        }
    }

    /// What `part` makes of each pair an adapter has in this group, its column in y and that in inner.
    fn parts<'p>(
        &'p self,
        adapter: usize,
        part: impl Fn(&'p (Narrow, Narrow), usize, usize) -> Part<'p>,
    ) -> Vec<Part<'p>> {
        let layer = &self.plan.narrow[adapter].layers[self.layer];
        let members = self.members.iter().enumerate();
        let parts = members.filter_map(|(i, (projection, column)): (_, &(Projection, usize))| {
            let pair = layer[projection.index()].as_ref()?;
            Some(part(pair, *column, i * self.plan.rank))
        });
        parts.collect()
    }
}
