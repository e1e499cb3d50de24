//! Prefix sharing: the common beginning of a candidate's examples goes through the model once.
//!
//! Chat examples start with the same system turn, few-shot examples with the same demonstrations: a third to
//! most of their tokens. No token there is a target, so the rows are the same for all examples. The gradient of
//! a shared row is the sum of the examples' gradients. The result is the same as without sharing.

use super::Example;
use crate::batch::PackedBatch;
use crate::lora::Lora;
use std::ops::Range;
use std::sync::Arc;

/// The fewest tokens that are shared: fewer are not worth a sequence of their own.
const MIN_SHARED: usize = 8;

/// The rows of an example's inputs.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The rows of the shared prefix.
    shared: Range<usize>,
    own: Range<usize>,
}

impl Placement {
    /// The row of each input.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = usize> {
        let (shared, own) = (self.shared.clone(), self.own.start);
        (0..shared.len() + self.own.len()).map(move |i| match i.checked_sub(shared.len()) {
            None => shared.start + i,
            Some(i) => own + i,
        })
    }

    /// The row that predicts token `i`, a target.
    pub fn row_before(&self, i: usize) -> usize {
        self.own.start + i - 1 - self.shared.len()
    }
}

/// Appends the examples, all under one adapter. Returns each example's index and rows, in the order of rows.
pub fn push(
    batch: &mut PackedBatch,
    lora: &Arc<Lora>,
    examples: &[&Example],
) -> Vec<(usize, Placement)> {
    let adapter = std::slice::from_ref(lora);
    let (mut sharing, mut alone): (Vec<usize>, Vec<usize>) =
        (0..examples.len()).partition(|e| examples[*e].unsupervised_rows() >= MIN_SHARED);
    let shared = common(sharing.iter().map(|e| examples[*e]));
    if sharing.len() < 2 || shared < MIN_SHARED {
        alone.append(&mut sharing);
    }
    let mut placed = Vec::with_capacity(examples.len());
    for index in alone {
        let own = batch.push(examples[index].inputs(), 0, None, adapter);
        let shared = own.start..own.start;
        placed.push((index, Placement { shared, own }));
    }
    if let Some(first) = sharing.first() {
        let shared = batch.push(&examples[*first].tokens[..shared], 0, None, adapter);
        let prefix = batch.sequences.len() - 1;
        for index in sharing {
            let rest = &examples[index].inputs()[shared.len()..];
            let (shared, own) = (shared.clone(), batch.push_after(prefix, rest));
            placed.push((index, Placement { shared, own }));
        }
    }
    placed
}

/// The length of the examples' common beginning, up to the first row that predicts a target of any of them.
fn common<'a>(mut examples: impl Iterator<Item = &'a Example>) -> usize {
    let Some(first) = examples.next() else {
        return 0;
    };
    examples.fold(first.unsupervised_rows(), |shared, e| {
        let pairs = first.tokens[..shared].iter().zip(&e.tokens);
        pairs
            .take_while(|(a, b)| a == b)
            .count()
            .min(e.unsupervised_rows())
    })
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
        for (index, p) in placed {
            let example = [&a, &text, &b][index];
            let tokens: Vec<u32> = p.rows().map(|row| batch.tokens[row]).collect();
            assert_eq!(tokens, example.inputs());
            for i in (1..example.tokens.len()).filter(|i| example.supervised[*i]) {
                let row = p.row_before(i);
                assert_eq!(batch.tokens[row], example.tokens[i - 1]);
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
