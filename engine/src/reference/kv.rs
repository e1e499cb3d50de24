//! Keys and values of earlier tokens, in a slot for each sequence.
//!
//! A slot holds a pair of tensors for each layer. Tensors are reference-counted, so a fork shares its parent's
//! memory. The two separate when either grows, because growing makes a new tensor.

use crate::error::{Error, Result};
use crate::executor::KvSlot;
use candle_core::Tensor;

/// Keys and values of one layer, `[length, kv_heads, D]`; keys are stored after the rotary embedding.
#[derive(Clone)]
pub struct KeysValues {
    pub keys: Tensor,
    pub values: Tensor,
}

/// The contents of a slot: an entry for each layer, none for an empty slot.
#[derive(Clone, Default)]
pub struct Cache {
    layers: Vec<KeysValues>,
    len: usize,
}

impl Cache {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn layer(&self, layer: usize) -> Option<&KeysValues> {
        self.layers.get(layer)
    }
}

/// All slots of an executor.
#[derive(Default)]
pub struct Slots {
    slots: Vec<Option<Cache>>,
}

impl Slots {
    pub fn insert(&mut self, cache: Cache) -> KvSlot {
        let free = self.slots.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[index] = Some(cache);
        KvSlot(index)
    }

    pub fn get(&self, slot: KvSlot) -> Result<&Cache> {
        self.slots
            .get(slot.0)
            .and_then(Option::as_ref)
            .ok_or_else(|| Error::Input(format!("there is no KV slot {}", slot.0)))
    }

    /// Replaces a slot's contents by `layers`, which hold all `len` tokens.
    pub fn replace(&mut self, slot: KvSlot, layers: Vec<KeysValues>, len: usize) -> Result<()> {
        self.get(slot)?;
        self.slots[slot.0] = Some(Cache { layers, len });
        Ok(())
    }

    pub fn remove(&mut self, slot: KvSlot) {
        if let Some(entry) = self.slots.get_mut(slot.0) {
            *entry = None;
        }
    }

    /// The first `len` tokens of a slot.
    pub fn prefix(&self, slot: KvSlot, len: usize) -> Result<Cache> {
        let from = self.get(slot)?;
        if len > from.len {
            return Err(Error::Input(format!(
                "KV slot {} holds {} tokens, {len} were asked for",
                slot.0, from.len
            )));
        }
        if len == 0 {
            return Ok(Cache::default());
        }
        let cut = |kv: &KeysValues| -> Result<KeysValues> {
            Ok(KeysValues {
                keys: kv.keys.narrow(0, 0, len)?,
                values: kv.values.narrow(0, 0, len)?,
            })
        };
        Ok(Cache {
            layers: from.layers.iter().map(cut).collect::<Result<_>>()?,
            len,
        })
    }
}
