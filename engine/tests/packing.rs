//! Results of one sequence never depend on which others share its batch, nor on how its tokens came.

mod common;

use autodidact_engine::{Executor, Precision};
use common::packing::*;
use common::{FAMILIES, cpu, reference, tiny};

const TOLERANCE: f32 = 1e-4;
/// Where a sum taken in another order falls on the other side of a rounding.
const BF16_TOLERANCE: f32 = 3e-2;

fn on_every_family(check: impl Fn(&mut dyn Executor, f32)) {
    for family in FAMILIES {
        check(&mut reference(&tiny(family)), TOLERANCE);
        check(&mut cpu(&tiny(family), Precision::F32), TOLERANCE);
        check(&mut cpu(&tiny(family), Precision::Int8), TOLERANCE);
        check(&mut cpu(&tiny(family), Precision::Bf16), BF16_TOLERANCE);
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
