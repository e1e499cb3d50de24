//! Results of one sequence never depend on which others share its batch, nor on how its tokens came.

mod common;

use autodidact_engine::Executor;
use common::packing::*;
use common::{FAMILIES, reference, tiny};

const TOLERANCE: f32 = 1e-4;

fn on_every_family(check: impl Fn(&mut dyn Executor)) {
    for family in FAMILIES {
        check(&mut reference(&tiny(family)));
    }
}

#[test]
fn packed_logits() {
    on_every_family(|e| packed_logits_are_those_alone(e, TOLERANCE));
}

#[test]
fn packed_scores() {
    on_every_family(|e| packed_scores_are_those_alone(e, TOLERANCE));
}

#[test]
fn packed_gradients() {
    on_every_family(|e| packed_gradients_are_those_alone(e, TOLERANCE));
}

#[test]
fn cached_decoding() {
    on_every_family(|e| cached_decoding_is_whole(e, TOLERANCE));
}

#[test]
fn forks() {
    on_every_family(|e| forks_diverge(e, TOLERANCE));
}

#[test]
fn stacks() {
    on_every_family(|e| stacks_add_up(e, TOLERANCE));
}

#[test]
fn wrong_input() {
    on_every_family(wrong_input_is_refused);
}
