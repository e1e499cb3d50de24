//! The packed batch: the tokens of many sequences end to end, without padding.

use crate::error::{Error, Result};
use crate::executor::KvSlot;
use crate::lora::Lora;
use std::ops::Range;
use std::sync::Arc;

/// One sequence of a [`PackedBatch`].
#[derive(Debug, Clone)]
pub struct Sequence {
    /// Its rows of `tokens`.
    pub rows: Range<usize>,
    /// The slot that holds its earlier keys and values, and takes its new ones. `None`: the sequence starts at its
    /// first row, or at its prefix's (scoring, training), and nothing is kept.
    pub kv: Option<KvSlot>,
    /// An earlier sequence of this batch that this one continues, so that a common beginning is computed, and
    /// trained through, once. Neither has a slot, the prefix has no prefix itself, and only sequences of the same
    /// prefix stand between the two.
    pub prefix: Option<usize>,
    /// Indices into [`PackedBatch::adapters`]; the corrections of all of them are added.
    pub stack: Vec<usize>,
}

/// Many sequences in one pass. Row t of every `[T, …]` activation belongs to `tokens[t]`.
#[derive(Debug, Clone, Default)]
pub struct PackedBatch {
    /// `[T]`
    pub tokens: Vec<u32>,
    /// `[T]`, rotary positions. Those of a sequence with a KV slot start at the slot's length.
    pub positions: Vec<u32>,
    /// In row order. They cover all rows, and none is empty.
    pub sequences: Vec<Sequence>,
    /// Every adapter that a sequence names, once.
    pub adapters: Vec<Arc<Lora>>,
}

impl PackedBatch {
    pub fn new() -> Self {
        Self::default()
    }

    /// The index of `adapter`, which is added if it is not in the batch yet. Two `Arc`s of one allocation are one
    /// adapter.
    pub fn adapter(&mut self, adapter: &Arc<Lora>) -> usize {
        match self.adapters.iter().position(|a| Arc::ptr_eq(a, adapter)) {
            Some(index) => index,
            None => {
                self.adapters.push(adapter.clone());
                self.adapters.len() - 1
            }
        }
    }

    /// Appends a sequence whose first token has position `start`. Returns its rows.
    pub fn push(
        &mut self,
        tokens: &[u32],
        start: usize,
        kv: Option<KvSlot>,
        adapters: &[Arc<Lora>],
    ) -> Range<usize> {
        let stack = adapters.iter().map(|a| self.adapter(a)).collect();
        let rows = self.tokens.len()..self.tokens.len() + tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.positions
            .extend((start..start + tokens.len()).map(|p| p as u32));
        self.sequences.push(Sequence {
            rows: rows.clone(),
            kv,
            prefix: None,
            stack,
        });
        rows
    }

    /// Appends a sequence that continues the sequence with index `prefix`, under the same adapters. Returns its
    /// rows.
    pub fn push_after(&mut self, prefix: usize, tokens: &[u32]) -> Range<usize> {
        let start = self.sequences[prefix].rows.len();
        let rows = self.push(tokens, start, None, &[]);
        let stack = self.sequences[prefix].stack.clone();
        let last = self.sequences.last_mut().expect("just pushed");
        (last.prefix, last.stack) = (Some(prefix), stack);
        rows
    }

    /// Checks what executors rely on.
    ///
    /// # Errors
    /// [`Error::Input`] names a sequence that is out of order, a wrong prefix, or a token outside the vocabulary.
    pub fn validate(&self, vocab_size: usize) -> Result<()> {
        let mut next = 0;
        for s in &self.sequences {
            if s.rows.start != next || s.rows.is_empty() {
                return Err(Error::Input(format!(
                    "sequence rows {:?} do not follow row {next}",
                    s.rows
                )));
            }
            next = s.rows.end;
        }
        for (index, s) in self.sequences.iter().enumerate() {
            if s.prefix.is_some_and(|p| !self.follows(index, p)) {
                return Err(Error::Input(format!(
                    "sequence {index} cannot have sequence {:?} as its prefix",
                    s.prefix
                )));
            }
        }
        if next != self.tokens.len() || self.positions.len() != self.tokens.len() {
            return Err(Error::Input("sequences do not cover the batch".into()));
        }
        match self.tokens.iter().find(|t| **t as usize >= vocab_size) {
            Some(t) => Err(Error::Input(format!(
                "token {t} is outside the vocabulary of {vocab_size}"
            ))),
            None => Ok(()),
        }
    }

    /// Checks that an adapter with more than pairs stands alone in its stack: factors and whole tables of several
    /// adapters have no common meaning.
    ///
    /// # Errors
    /// [`Error::Adapter`] names what the adapter has besides its pairs.
    pub fn check_stacks(&self) -> Result<()> {
        for sequence in self.sequences.iter().filter(|s| s.stack.len() > 1) {
            for adapter in sequence.stack.iter().filter_map(|a| self.adapters.get(*a)) {
                if let Some(extras) = &adapter.extras {
                    return Err(Error::Adapter(format!(
                        "it has {} besides its LoRA pairs, so it cannot be stacked with others",
                        extras.names().join(", ")
                    )));
                }
            }
        }
        Ok(())
    }

    fn follows(&self, index: usize, prefix: usize) -> bool {
        let Some(between) = self.sequences.get(prefix + 1..=index) else {
            return false;
        };
        let (first, own) = (&self.sequences[prefix], &self.sequences[index]);
        !between.is_empty()
            && between.iter().all(|s| s.prefix == Some(prefix))
            && first.prefix.is_none()
            && first.kv.is_none()
            && own.kv.is_none()
            && first.stack == own.stack
    }
}
