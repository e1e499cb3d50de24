//! A sequence's results depend neither on the other sequences of its batch nor on how its tokens were cut.

use crate::common::packing::*;
use crate::common::{FAMILIES, cpu, multiplies_bf16, random_lora, reference, some_tokens, tiny};
use autodidact_engine::{Executor, PackedBatch, Precision};

const TOLERANCE: f32 = 1e-4;
/// Where a sum taken in another order falls on the other side of a rounding.
const BF16_TOLERANCE: f32 = 3e-2;
/// The same where AVX2 takes the sums: 0.036 was measured, with both sides 0.099 from f32 at most.
const EMULATED_TOLERANCE: f32 = 5e-2;

fn on_every_family(check: impl Fn(&mut dyn Executor, f32)) {
    let bf16 = match multiplies_bf16() {
        true => BF16_TOLERANCE,
        false => EMULATED_TOLERANCE,
    };
    for family in FAMILIES {
        check(&mut reference(&tiny(family)), TOLERANCE);
        check(&mut cpu(&tiny(family), Precision::F32), TOLERANCE);
        check(&mut cpu(&tiny(family), Precision::Int8), TOLERANCE);
        check(&mut cpu(&tiny(family), Precision::Bf16), bf16);
    }
}

#[test]
fn packed_logits() {
    on_every_family(packed_logits_are_those_alone);
}

#[test]
fn packed_scores() {
    on_every_family(packed_scores_are_those_alone);
}

#[test]
fn packed_gradients() {
    on_every_family(packed_gradients_are_those_alone);
}

#[test]
fn shared_prefixes() {
    on_every_family(sequences_behind_a_prefix_are_those_alone);
}

#[test]
fn cached_decoding() {
    on_every_family(cached_decoding_is_whole);
}

#[test]
fn forks() {
    on_every_family(forks_diverge);
}

#[test]
fn stacks() {
    on_every_family(stacks_add_up);
}

#[test]
fn wrong_input() {
    on_every_family(|e, _| wrong_input_is_refused(e));
}

/// However a prompt behind a slot is cut, by the prefix cache or by what else there is to do: with rounded
/// activations the smallest difference would decide between two answers that are nearly as likely.
#[test]
fn a_prompt_in_pieces_has_the_same_bits() {
    for family in FAMILIES {
        let mut cpu = cpu(&tiny(family), Precision::Bf16);
        let stack = [random_lora(cpu.config(), 4, 8.0, 3)];
        let (text, other) = (some_tokens(150, 5, &cpu), some_tokens(3, 6, &cpu));
        let mut last = |pieces: &[usize]| {
            let slot = cpu.kv_new();
            let mut logits = Vec::new();
            for n in pieces {
                let start = cpu.kv_len(slot);
                let mut batch = PackedBatch::new();
                batch.push(&text[start..start + n], start, Some(slot), &stack);
                batch.push(&other, 0, None, &[]);
                logits = cpu.forward(&batch, &[n - 1]).unwrap();
            }
            assert_eq!(cpu.kv_len(slot), text.len());
            logits
        };
        let whole = last(&[150]);
        for pieces in [
            &[149, 1][..],
            &[64, 1, 2, 3, 80],
            &[3, 100, 45, 2],
            &[63, 66, 21],
        ] {
            assert_eq!(last(pieces), whole, "{family:?} in {pieces:?}");
        }
    }
}
