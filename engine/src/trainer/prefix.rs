//! What the examples of a candidate have in common at their beginning goes through the model once.
//!
//! Chat examples all start with the same system turn, few-shot examples with the same demonstrations: a
//! third to most of their tokens. Nothing there is a target, so the rows are the same for all of them, and
//! the gradient of a shared row is the sum of what each example hands down to it: the result is what it
//! would be without sharing.

use super::Example;
use crate::batch::PackedBatch;
use crate::lora::Lora;
use std::sync::Arc;

/// Fewer tokens are not worth a sequence of their own.
const WORTH: usize = 8;

/// An example and where it came to stand.
pub struct Placed<'a> {
    pub example: &'a Example,
    /// The row of its first token that has a row of its own, and which token that is.
    row: usize,
    token: usize,
}

impl Placed<'_> {
    /// The row that predicts token `i`.
    pub fn row_before(&self, i: usize) -> usize {
        self.row + i - 1 - self.token
    }
}

/// Appends the examples, all under one adapter, in the order of the result.
pub fn push<'a>(
    batch: &mut PackedBatch,
    lora: &Arc<Lora>,
    examples: &[&'a Example],
) -> Vec<Placed<'a>> {
    let adapter = std::slice::from_ref(lora);
    let (sharing, alone): (Vec<&Example>, Vec<&Example>) =
        examples.iter().partition(|e| e.untaught() >= WORTH);
    let shared = common(&sharing);
    let mut placed = Vec::with_capacity(examples.len());
    let mut whole = |batch: &mut PackedBatch, example: &'a Example| {
        let row = batch.push(example.inputs(), 0, None, adapter).start;
        placed.push(Placed {
            example,
            row,
            token: 0,
        });
    };
    alone.into_iter().for_each(|e| whole(batch, e));
    if sharing.len() < 2 || shared < WORTH {
        sharing.into_iter().for_each(|e| whole(batch, e));
        return placed;
    }
    batch.push(&sharing[0].tokens[..shared], 0, None, adapter);
    let prefix = batch.sequences.len() - 1;
    for example in sharing {
        let row = batch.push_after(prefix, &example.inputs()[shared..]).start;
        placed.push(Placed {
            example,
            row,
            token: shared,
        });
    }
    placed
}

/// The length of what all begin with, before the first row that any of them learns from.
fn common(examples: &[&Example]) -> usize {
    let Some((first, rest)) = examples.split_first() else {
        return 0;
    };
    let alike = |e: &&Example| {
        let pairs = first.tokens.iter().zip(&e.tokens);
        pairs.take_while(|(a, b)| a == b).count()
    };
    let untaught = examples.iter().map(|e| e.untaught());
    untaught.chain(rest.iter().map(alike)).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Family;
    use crate::lora::LoraConfig;
    use crate::tiny::tiny_config;

    #[test]
    fn only_rows_that_nobody_learns_from_are_shared() {
        let lora = Lora::init(
            LoraConfig::all_linear(1, 1.0),
            &tiny_config(Family::Llama),
            0,
        );
        let lora = Arc::new(lora);
        let prompt: Vec<u32> = (10..20).collect();
        let ask =
            |own: &[u32], answer: &[u32]| Example::completion(&[&prompt[..], own].concat(), answer);
        let (a, b) = (ask(&[1, 2], &[3, 4]), ask(&[1, 5, 6], &[7]));
        let text = Example::all(prompt.clone());
        let mut batch = PackedBatch::new();
        let placed = push(&mut batch, &lora, &[&a, &text, &b]);
        // The text alone, then eleven shared tokens, then what is left of each.
        let lengths: Vec<usize> = batch.sequences.iter().map(|s| s.rows.len()).collect();
        assert_eq!(lengths, [9, 11, 2, 2]);
        assert_eq!(batch.sequences[3].prefix, Some(1));
        batch.validate(100).unwrap();
        for p in placed {
            for i in (1..p.example.tokens.len()).filter(|i| p.example.supervised[*i]) {
                let row = p.row_before(i);
                assert_eq!(batch.tokens[row], p.example.tokens[i - 1]);
                assert_eq!(batch.positions[row] as usize, i - 1);
            }
        }

        let mut batch = PackedBatch::new();
        push(&mut batch, &lora, &[&a, &text]);
        assert_eq!(
            batch.sequences.len(),
            2,
            "one alone has nobody to share with"
        );
    }
}
