//! The decoder's logits agree with those of transformers, on the files that users run.

use crate::common;
use crate::common::logits::{agrees_with_transformers, recorded_model};
use autodidact_engine::{ModelFiles, Precision};

/// Measured differences are 3e-5 and less: f32 summed in another order.
const TOLERANCE: f32 = 1e-3;
/// Measured 0.08 and 0.14, on logits that reach 30.
const BF16_TOLERANCE: f32 = 0.3;
/// Measured 0.036 on qwen2, whose Q6_K blocks are no even steps of 32.
const INT8_TOLERANCE: f32 = 0.1;

fn reference_agrees(fixture: &str, steps: usize) {
    let path = common::model_path(&recorded_model(fixture));
    let files = ModelFiles::open(&path).unwrap();
    let mut executor = common::reference(&files);
    let largest = agrees_with_transformers(&mut executor, fixture, steps, TOLERANCE);
    println!("{fixture}: largest difference {largest}");
}

#[test]
fn reference_agrees_on_smollm2() {
    reference_agrees("logits_smollm2.json", 20);
}

#[test]
fn reference_agrees_on_qwen2() {
    reference_agrees("logits_qwen2.json", 4);
}

fn cpu_agrees(fixture: &str, steps: usize, precision: Precision, tolerance: f32) {
    let files = ModelFiles::open(&common::model_path(&recorded_model(fixture))).unwrap();
    let mut executor = common::cpu(&files, precision);
    let largest = agrees_with_transformers(&mut executor, fixture, steps, tolerance);
    println!("{fixture} {precision:?}: largest difference {largest}");
}

#[test]
fn cpu_f32_agrees_on_smollm2() {
    cpu_agrees("logits_smollm2.json", 20, Precision::F32, TOLERANCE);
}

#[test]
fn cpu_f32_agrees_on_qwen2() {
    cpu_agrees("logits_qwen2.json", 4, Precision::F32, TOLERANCE);
}

#[test]
fn cpu_bf16_is_near_on_smollm2() {
    cpu_agrees("logits_smollm2.json", 20, Precision::Bf16, BF16_TOLERANCE);
}

#[test]
fn cpu_bf16_is_near_on_qwen2() {
    // Without the instruction weights are read one by one: twenty steps take many minutes.
    let steps = if common::multiplies_bf16() { 20 } else { 4 };
    cpu_agrees("logits_qwen2.json", steps, Precision::Bf16, BF16_TOLERANCE);
}

/// All its blocks are even steps: eight bits hold them exactly.
#[test]
fn cpu_int8_agrees_on_smollm2() {
    cpu_agrees("logits_smollm2.json", 20, Precision::Int8, TOLERANCE);
}

#[test]
fn cpu_int8_is_near_on_qwen2() {
    cpu_agrees("logits_qwen2.json", 20, Precision::Int8, INT8_TOLERANCE);
}
