//! The prefix cache: a common beginning of prompts is computed once.
//!
//! Keys and values of a token depend on the tokens before it and on the adapters alone. So a new sequence may
//! start as a fork of any slot that holds the same tokens under the same stack. Such slots are those of running
//! sequences, and those of finished sequences, which are kept here until newer ones need the budget. Of several
//! waiting requests with a common prefix the first computes it, and the others stay in the queue until then.
//!
//! Entries are found by content, never by name: by their tokens, and by the addresses of their adapters. An
//! entry holds its adapters weakly. The weak reference keeps the address from being given to another adapter, but
//! lets a retired adapter be freed when its last request ends. The adapter's entries are then useless, and are
//! removed at the end of the next turn.

use super::generation::{Generation, free};
use crate::executor::{Executor, KvSlot};
use crate::lora::Lora;
use std::sync::{Arc, Weak};

/// The fewest tokens of a common prefix that are worth a slot.
pub(super) const MIN_SHARED: usize = 16;
/// The fewest tokens that a request saves by waiting for another's prefill.
const MIN_SAVED: usize = 32;

pub(super) struct PrefixCache {
    /// Least recently used first.
    entries: Vec<Entry>,
    /// Most tokens to keep; 0 turns sharing off.
    budget: usize,
}

struct Entry {
    adapters: Vec<Weak<Lora>>,
    /// The tokens that the slot holds.
    tokens: Vec<u32>,
    slot: KvSlot,
}

/// How the prefill of a request starts.
#[derive(Debug, PartialEq)]
pub(super) enum PrefillStart {
    /// From an empty slot.
    Empty,
    /// From the first `len` tokens of a slot.
    Fork { slot: KvSlot, len: usize },
    /// Later: a running request is computing the prefix.
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

    /// The best start for `next` among the kept and the running sequences. At least one token of the prompt is left
    /// to compute, because its logits are needed.
    pub fn prefill_start(
        &mut self,
        next: &Generation,
        running: &[Generation],
        executor: &dyn Executor,
    ) -> PrefillStart {
        if self.budget == 0 {
            return PrefillStart::Empty;
        }
        let shared =
            |tokens: &[u32]| common_prefix(tokens, &next.prompt).min(next.prompt.len() - 1);
        let mut best = (0, None);
        let mut used = None;
        for (at, entry) in self.entries.iter().enumerate() {
            if entry.has_stack(&next.adapters) && shared(&entry.tokens) > best.0 {
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
            // A less urgent prefill may take long, so a more urgent request does not wait for it.
            if other.prefill.is_some() && other.priority <= next.priority {
                coming = coming.max(shared);
            }
        }
        match best {
            (len, _) if coming >= len + MIN_SAVED => PrefillStart::Wait,
            (len, Some(slot)) if len >= MIN_SHARED => {
                if let Some(at) = used {
                    self.touch(at);
                }
                PrefillStart::Fork { slot, len }
            }
            _ => PrefillStart::Empty,
        }
    }

    /// Takes the slot of a finished sequence, which holds `tokens`; the first `prompt` of them are its prompt. If an
    /// entry covers the prompt already (of a sample that finished earlier), the slot is freed.
    pub fn insert(
        &mut self,
        adapters: &[Arc<Lora>],
        tokens: Vec<u32>,
        prompt: usize,
        slot: KvSlot,
        executor: &mut dyn Executor,
    ) {
        if tokens.len() < MIN_SHARED || tokens.len() > self.budget {
            return free(executor, slot);
        }
        let covers =
            |e: &Entry| e.has_stack(adapters) && common_prefix(&e.tokens, &tokens) >= prompt;
        if let Some(at) = self.entries.iter().position(covers) {
            self.touch(at);
            return free(executor, slot);
        }
        self.remove(executor, |e| {
            e.has_stack(adapters) && tokens.starts_with(&e.tokens)
        });
        self.entries.push(Entry {
            adapters: adapters.iter().map(Arc::downgrade).collect(),
            tokens,
            slot,
        });
        self.trim(self.budget, executor);
    }

    /// Frees the least recently used entries until at most `tokens` are held.
    pub fn trim(&mut self, tokens: usize, executor: &mut dyn Executor) {
        while self.tokens() > tokens {
            free(executor, self.entries.remove(0).slot);
        }
    }

    /// Frees the entries of adapters that are gone.
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
    fn has_stack(&self, adapters: &[Arc<Lora>]) -> bool {
        let same = |(kept, asked): (&Weak<Lora>, &Arc<Lora>)| kept.as_ptr() == Arc::as_ptr(asked);
        self.adapters.len() == adapters.len() && self.adapters.iter().zip(adapters).all(same)
    }
}

/// The length of the longest common prefix.
pub(super) fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
