//! Keys and values of live sequences: per slot and layer one growing buffer each, rows `kv_dim` wide,
//! keys after the rotary embedding.

use crate::executor::KvSlot;

#[derive(Default)]
pub struct Slots(Vec<Option<Slot>>);

struct Slot {
    len: usize,
    /// Per layer (keys, values).
    layers: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Slots {
    pub fn create(&mut self, layers: usize) -> KvSlot {
        self.insert(Slot {
            len: 0,
            layers: vec![(Vec::new(), Vec::new()); layers],
        })
    }

    /// A copy of the first `len` tokens.
    pub fn fork(&mut self, from: KvSlot, len: usize, kv_dim: usize) -> KvSlot {
        let source = self.slot(from);
        let len = len.min(source.len);
        let copy = |v: &Vec<f32>| v[..len * kv_dim].to_vec();
        let layers = source
            .layers
            .iter()
            .map(|(k, v)| (copy(k), copy(v)))
            .collect();
        self.insert(Slot { len, layers })
    }

    pub fn free(&mut self, slot: KvSlot) {
        if let Some(place) = self.0.get_mut(slot.0) {
            *place = None;
        }
    }

    /// Tokens held, `None` for a slot that does not exist.
    pub fn len(&self, slot: KvSlot) -> Option<usize> {
        self.0.get(slot.0)?.as_ref().map(|s| s.len)
    }

    /// All keys and values of one layer.
    pub fn layer(&self, slot: KvSlot, layer: usize) -> (&[f32], &[f32]) {
        let (k, v) = &self.slot(slot).layers[layer];
        (k, v)
    }

    /// Puts rows `[key ++ value]` behind the slot's `len` tokens; [`Slots::advance`] makes them count.
    pub fn append<'a>(
        &mut self,
        slot: KvSlot,
        layer: usize,
        kv_dim: usize,
        rows: impl Iterator<Item = &'a [f32]>,
    ) {
        let slot = self.0[slot.0]
            .as_mut()
            .expect("slots are checked when the batch is");
        let held = slot.len * kv_dim;
        let (k, v) = &mut slot.layers[layer];
        k.truncate(held);
        v.truncate(held);
        for row in rows {
            k.extend_from_slice(&row[..kv_dim]);
            v.extend_from_slice(&row[kv_dim..]);
        }
    }

    pub fn advance(&mut self, slot: KvSlot, tokens: usize) {
        if let Some(Some(slot)) = self.0.get_mut(slot.0) {
            slot.len += tokens;
        }
    }

    fn insert(&mut self, slot: Slot) -> KvSlot {
        match self.0.iter().position(Option::is_none) {
            Some(free) => {
                self.0[free] = Some(slot);
                KvSlot(free)
            }
            None => {
                self.0.push(Some(slot));
                KvSlot(self.0.len() - 1)
            }
        }
    }

    fn slot(&self, slot: KvSlot) -> &Slot {
        let found = self.0.get(slot.0).and_then(Option::as_ref);
        found.expect("a KV slot must not be used after it was freed")
    }
}
