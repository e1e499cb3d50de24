//! Backward is the derivative of the loss, for every matrix of every adapter in a packed batch.

use crate::common;
use crate::common::gradients::agree_with_finite_differences;
use autodidact_engine::{Family, Precision};

fn reference_agrees(family: Family) {
    let mut executor = common::reference(&common::tiny(family));
    let worst = agree_with_finite_differences(&mut executor, 4e-3, 1e-2);
    println!("{family:?}: largest error {worst:.5} of the largest entry");
}

#[test]
fn reference_agrees_on_llama() {
    reference_agrees(Family::Llama);
}

#[test]
fn reference_agrees_on_qwen2() {
    reference_agrees(Family::Qwen2);
}

#[test]
fn reference_agrees_on_qwen3() {
    reference_agrees(Family::Qwen3);
}

#[test]
fn cpu_agrees_on_every_family() {
    for family in common::FAMILIES {
        let mut executor = common::cpu(&common::tiny(family), Precision::F32);
        let worst = agree_with_finite_differences(&mut executor, 4e-3, 1e-2);
        println!("{family:?}: largest error {worst:.5} of the largest entry");
    }
}
