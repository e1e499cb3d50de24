//! The prefix cache: prompts that start alike are computed once.
//!
//! Keys and values of a token depend on the tokens before it and on the adapters, on nothing else.
//! So a new sequence may begin as a fork of any slot that holds the same tokens under the same stack:
//! that of a finished sequence, kept here until the budget is needed for newer ones, or that of a
//! running one. Of several requests that share a prefix and come together, the first computes it
//! and the others stay in the queue until it is there.
//!
//! What is found goes by content, never by a name: by the tokens, and by the adapters' allocations.
//! Entries hold their adapters weakly. That keeps the address from being given to another adapter,
//! yet lets a retired adapter go when its last request ends; its entries can serve nobody then, and
//! go at the end of the next turn.

use super::generation::{Generation, free};
use crate::executor::{Executor, KvSlot};
use crate::lora::Lora;
use std::sync::{Arc, Weak};

/// A shorter common prefix is not worth a slot.
pub(super) const LEAST_SHARED: usize = 16;
/// Waiting for another's prefill must save at least so many tokens.
const WORTH_WAITING: usize = 32;

pub(super) struct PrefixCache {
    /// The least recently used first.
    entries: Vec<Entry>,
    /// Tokens to keep; 0: nothing is shared at all.
    budget: usize,
}

struct Entry {
    adapters: Vec<Weak<Lora>>,
    /// What the slot holds.
    tokens: Vec<u32>,
    slot: KvSlot,
}

/// How a request may begin.
#[derive(Debug, PartialEq)]
pub(super) enum Beginning {
    Afresh,
    /// With the first `len` tokens of a slot.
    Fork {
        slot: KvSlot,
        len: usize,
    },
    /// Later: another is computing what it needs.
    Wait,
}

impl PrefixCache {
    pub fn new(budget: usize) -> Self {
        PrefixCache {
            entries: Vec::new(),
            budget,
        }
    }

    /// Tokens held.
    pub fn tokens(&self) -> usize {
        self.entries.iter().map(|e| e.tokens.len()).sum()
    }

    /// The best beginning for `next` among what is kept and what runs. At least one token of its
    /// prompt is left to compute: its logits are wanted.
    pub fn beginning(
        &mut self,
        next: &Generation,
        running: &[Generation],
        executor: &dyn Executor,
    ) -> Beginning {
        if self.budget == 0 {
            return Beginning::Afresh;
        }
        let shared = |tokens: &[u32]| common(tokens, &next.prompt).min(next.prompt.len() - 1);
        let mut best = (0, None);
        let mut used = None;
        for (at, entry) in self.entries.iter().enumerate() {
            if entry.is_of(&next.adapters) && shared(&entry.tokens) > best.0 {
                best = (shared(&entry.tokens), Some(entry.slot));
                used = Some(at);
            }
        }
        let mut coming = 0;
        for other in running.iter().filter(|g| g.same_stack(next)) {
            let Some(slot) = other.slots().next() else {
                continue;
            };
            let shared = shared(&other.prompt);
            let ready = shared.min(executor.kv_len(slot));
            if ready > best.0 {
                best = (ready, Some(slot));
                used = None;
            }
            // Less urgent prefills may take long; nobody more urgent waits for them.
            if other.prefill.is_some() && other.priority <= next.priority {
                coming = coming.max(shared);
            }
        }
        match best {
            (len, _) if coming >= len + WORTH_WAITING => Beginning::Wait,
            (len, Some(slot)) if len >= LEAST_SHARED => {
                if let Some(at) = used {
                    self.touch(at);
                }
                Beginning::Fork { slot, len }
            }
            _ => Beginning::Afresh,
        }
    }

    /// Takes the slot of a finished sequence, which holds `tokens`, the first `prompt` of them its
    /// prompt. If that is kept already (another sample was faster), the slot is freed.
    pub fn keep(
        &mut self,
        adapters: &[Arc<Lora>],
        tokens: Vec<u32>,
        prompt: usize,
        slot: KvSlot,
        executor: &mut dyn Executor,
    ) {
        if tokens.len() < LEAST_SHARED || tokens.len() > self.budget {
            return free(executor, slot);
        }
        let covers = |e: &Entry| e.is_of(adapters) && common(&e.tokens, &tokens) >= prompt;
        if let Some(at) = self.entries.iter().position(covers) {
            self.touch(at);
            return free(executor, slot);
        }
        self.remove(executor, |e| {
            e.is_of(adapters) && tokens.starts_with(&e.tokens)
        });
        self.entries.push(Entry {
            adapters: adapters.iter().map(Arc::downgrade).collect(),
            tokens,
            slot,
        });
        self.trim(self.budget, executor);
    }

    /// Frees what was used longest ago until at most `tokens` are held.
    pub fn trim(&mut self, tokens: usize, executor: &mut dyn Executor) {
        while self.tokens() > tokens {
            free(executor, self.entries.remove(0).slot);
        }
    }

    /// Frees what belongs to adapters that are gone.
    pub fn sweep(&mut self, executor: &mut dyn Executor) {
        self.remove(executor, |e| {
            e.adapters.iter().any(|a| a.strong_count() == 0)
        });
    }

    fn remove(&mut self, executor: &mut dyn Executor, which: impl Fn(&Entry) -> bool) {
        for entry in self.entries.extract_if(.., |e| which(e)) {
            free(executor, entry.slot);
        }
    }

    fn touch(&mut self, at: usize) {
        self.entries[at..].rotate_left(1);
    }
}

impl Entry {
    fn is_of(&self, adapters: &[Arc<Lora>]) -> bool {
        let same = |(kept, asked): (&Weak<Lora>, &Arc<Lora>)| kept.as_ptr() == Arc::as_ptr(asked);
        self.adapters.len() == adapters.len() && self.adapters.iter().zip(adapters).all(same)
    }
}

/// The length of the longest common prefix.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
