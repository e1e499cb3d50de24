//! Keys and values of live sequences, in pages of [`PAGE`] tokens that forks share.
//!
//! A slot is a list of pages. A fork shares its parent's pages and copies a page only when it writes into it:
//! n samples of one prompt hold the prompt once. Keys are stored after the rotary embedding.

use super::kernels::attention::{Chunk, Keys};
use crate::executor::KvSlot;
use memmap2::MmapMut;
use std::sync::Arc;

/// Tokens of a page.
pub const PAGE: usize = 64;
/// Most spare pages (190 MB on SmolLM2-135M); others go back to the system.
const MAX_SPARE_PAGES: usize = 64;

/// All slots of an executor.
pub struct Slots {
    layers: usize,
    kv_dim: usize,
    slots: Vec<Option<Slot>>,
    /// Pages of freed slots, for new ones: fresh memory is faulted in 4 KB at a time.
    spare: Vec<Page>,
}

struct Slot {
    len: usize,
    pages: Vec<Arc<Page>>,
}

/// For each layer the keys `[kv_dim, PAGE]`, whose layout makes the scores of many keys one product, then the values
/// `[PAGE, kv_dim]`.
///
/// A page is a memory mapping of its own. On the heap, pages that come and go between longer-lived data fragment
/// it, and a busy server grows for a long time (dev/LOG.md, 2026-11-26).
struct Page(MmapMut);

impl Page {
    fn new(floats: usize) -> Self {
        let bytes = floats * size_of::<f32>();
        Page(MmapMut::map_anon(bytes).expect("no memory is left for keys and values"))
    }

    fn floats(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    fn floats_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

impl Slots {
    pub fn new(layers: usize, kv_dim: usize) -> Self {
        Slots {
            layers,
            kv_dim,
            slots: Vec::new(),
            spare: Vec::new(),
        }
    }

    pub fn create(&mut self) -> KvSlot {
        self.insert(Slot {
            len: 0,
            pages: Vec::new(),
        })
    }

    /// A slot that starts with the first `len` tokens of `from`, or with all of them if there are fewer.
    pub fn fork(&mut self, from: KvSlot, len: usize) -> KvSlot {
        let source = self.slot(from);
        let len = len.min(source.len);
        let pages = source.pages[..len.div_ceil(PAGE)].to_vec();
        self.insert(Slot { len, pages })
    }

    /// Frees the slot; its unshared pages become spare. Does nothing if the slot does not exist.
    pub fn free(&mut self, slot: KvSlot) {
        let Some(slot) = self.slots.get_mut(slot.0).and_then(Option::take) else {
            return;
        };
        let room = MAX_SPARE_PAGES - self.spare.len();
        let mut given_up = slot.pages.into_iter().filter_map(Arc::into_inner);
        for mut page in given_up.by_ref().take(room) {
            // So that tests notice a read of an earlier sequence's data.
            if cfg!(debug_assertions) {
                page.floats_mut().fill(f32::NAN);
            }
            self.spare.push(page);
        }
    }

    /// Tokens held, `None` for a slot that does not exist.
    pub fn len(&self, slot: KvSlot) -> Option<usize> {
        self.slots.get(slot.0)?.as_ref().map(|s| s.len)
    }

    /// The first `len` keys and values of one layer; values are `kv_dim` apart.
    pub fn chunks(&self, slot: KvSlot, layer: usize, len: usize) -> Vec<Chunk<'_>> {
        let (row, size) = (self.kv_dim, PAGE * self.kv_dim);
        let pages = self.slot(slot).pages.iter().enumerate();
        let pages = pages.take_while(|(i, _)| i * PAGE < len);
        pages
            .map(|(i, page)| {
                let rows = PAGE.min(len - i * PAGE);
                let (k, v) = page.floats()[layer * 2 * size..][..2 * size].split_at(size);
                Chunk {
                    k: Keys::Transposed { k, stride: PAGE },
                    v: &v[..rows * row],
                    rows,
                }
            })
            .collect()
    }

    /// Writes rows `[key ++ value]` of one layer after the slot's tokens. [`Slots::advance`] then counts them in.
    pub fn append<'a>(
        &mut self,
        slot: KvSlot,
        layer: usize,
        rows: impl Iterator<Item = &'a [f32]>,
    ) {
        let (layers, row) = (self.layers, self.kv_dim);
        let size = PAGE * row;
        let slot = self.slots[slot.0]
            .as_mut()
            .expect("slots are checked when the batch is");
        let spare = &mut self.spare;
        let mut unused = || {
            let page = spare.pop();
            page.unwrap_or_else(|| Page::new(layers * 2 * size))
        };
        for (at, both) in (slot.len..).zip(rows) {
            if at == slot.pages.len() * PAGE {
                // A spare page's old data lies beyond the slot's length, and is overwritten before it is read.
                slot.pages.push(Arc::new(unused()));
            }
            let page = &mut slot.pages[at / PAGE];
            if Arc::get_mut(page).is_none() {
                let mut own = unused();
                own.0.copy_from_slice(&page.0);
                *page = Arc::new(own);
            }
            let page = Arc::get_mut(page).expect("nobody else has it");
            let (k, v) = page.floats_mut()[layer * 2 * size..][..2 * size].split_at_mut(size);
            for (column, value) in k.chunks_exact_mut(PAGE).zip(both) {
                column[at % PAGE] = *value;
            }
            v[at % PAGE * row..][..row].copy_from_slice(&both[row..]);
        }
    }

    /// Adds `tokens` to the slot's length, once every layer has appended them.
    pub fn advance(&mut self, slot: KvSlot, tokens: usize) {
        if let Some(Some(slot)) = self.slots.get_mut(slot.0) {
            slot.len += tokens;
        }
    }

    fn insert(&mut self, slot: Slot) -> KvSlot {
        match self.slots.iter().position(Option::is_none) {
            Some(free) => {
                self.slots[free] = Some(slot);
                KvSlot(free)
            }
            None => {
                self.slots.push(Some(slot));
                KvSlot(self.slots.len() - 1)
            }
        }
    }

    fn slot(&self, slot: KvSlot) -> &Slot {
        let found = self.slots.get(slot.0).and_then(Option::as_ref);
        found.expect("a KV slot must not be used after it was freed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appends `tokens` rows whose key is their position and whose value is `mark`.
    fn extend(slots: &mut Slots, slot: KvSlot, tokens: usize, mark: f32) {
        let from = slots.len(slot).unwrap();
        let rows: Vec<[f32; 2]> = (from..from + tokens).map(|i| [i as f32, mark]).collect();
        for layer in 0..2 {
            slots.append(slot, layer, rows.iter().map(|r| r.as_slice()));
        }
        slots.advance(slot, tokens);
    }

    fn held(slots: &Slots, slot: KvSlot) -> Vec<(f32, f32)> {
        let chunks = slots.chunks(slot, 1, slots.len(slot).unwrap());
        let rows = chunks.iter().flat_map(|c| match c.k {
            Keys::Transposed { k, .. } => k.iter().zip(c.v),
            Keys::Rows(_) => panic!("pages hold their keys transposed"),
        });
        rows.map(|(k, v)| (*k, *v)).collect()
    }

    #[test]
    fn forks_share_pages_until_they_write() {
        let mut slots = Slots::new(2, 1);
        let parent = slots.create();
        extend(&mut slots, parent, PAGE + 10, 1.0);
        let (whole, part) = (slots.fork(parent, 1000), slots.fork(parent, PAGE + 3));
        assert_eq!(slots.len(whole), Some(PAGE + 10));
        extend(&mut slots, part, PAGE, 2.0);
        extend(&mut slots, parent, 1, 3.0);
        let want = |own: usize, mark: f32, n: usize| -> Vec<(f32, f32)> {
            let mark = |i| if i < own { 1.0 } else { mark };
            (0..n).map(|i| (i as f32, mark(i))).collect()
        };
        assert_eq!(held(&slots, whole), want(PAGE + 10, 0.0, PAGE + 10));
        assert_eq!(held(&slots, part), want(PAGE + 3, 2.0, 2 * PAGE + 3));
        assert_eq!(held(&slots, parent), want(PAGE + 10, 3.0, PAGE + 11));
        let pages = |slot| slots.slot(slot).pages.clone();
        assert!(Arc::ptr_eq(&pages(whole)[0], &pages(part)[0]));
        assert!(!Arc::ptr_eq(&pages(whole)[1], &pages(part)[1]));
        // A pass that failed half-way is written over.
        slots.append(whole, 0, [[7.0, 7.0].as_slice()].into_iter());
        extend(&mut slots, whole, 1, 4.0);
        assert_eq!(held(&slots, whole), want(PAGE + 10, 4.0, PAGE + 11));
    }

    #[test]
    fn pages_are_used_again_once_nobody_shares_them() {
        let mut slots = Slots::new(2, 1);
        let parent = slots.create();
        extend(&mut slots, parent, 2 * PAGE, 1.0);
        let fork = slots.fork(parent, PAGE);
        slots.free(parent);
        slots.free(parent);
        assert_eq!(slots.spare.len(), 1, "the first is the fork's too");
        let next = slots.create();
        extend(&mut slots, next, 3, 2.0);
        assert!(slots.spare.is_empty());
        assert_eq!(held(&slots, next), [(0.0, 2.0), (1.0, 2.0), (2.0, 2.0)]);
        let first: Vec<(f32, f32)> = (0..PAGE).map(|i| (i as f32, 1.0)).collect();
        assert_eq!(held(&slots, fork), first);
        let long = slots.create();
        extend(&mut slots, long, (MAX_SPARE_PAGES + 9) * PAGE, 3.0);
        slots.free(long);
        assert_eq!(slots.spare.len(), MAX_SPARE_PAGES);
        // A copy of a shared page is one of them too.
        let second = slots.fork(fork, 10);
        extend(&mut slots, second, 1, 4.0);
        assert_eq!(slots.spare.len(), MAX_SPARE_PAGES - 1);
        assert_eq!(held(&slots, second)[9..], [(9.0, 1.0), (10.0, 4.0)]);
        assert_eq!(held(&slots, fork), first);
    }
}
