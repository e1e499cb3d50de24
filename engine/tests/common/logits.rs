//! Agreement with transformers on a real model, from a fixture of `bench/peers/record_logits.py`.

use super::fixture;
use autodidact_engine::{Executor, PackedBatch};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    model: String,
    prompts: Vec<Prompt>,
}

#[derive(Deserialize)]
struct Prompt {
    tokens: Vec<u32>,
    positions: Vec<Position>,
    greedy: Vec<u32>,
    greedy_leads: Vec<f32>,
}

#[derive(Deserialize)]
struct Position {
    row: usize,
    top_ids: Vec<usize>,
    top_logits: Vec<f32>,
    stride: usize,
    strided_logits: Vec<f32>,
}

/// The file of the catalogue the fixture was recorded from.
pub fn recorded_model(name: &str) -> String {
    read(name).model
}

/// Every recorded logit within `tolerance`, and the first `steps` tokens of the recorded greedy
/// continuation, decoded through a KV slot, wherever its lead over the second best is beyond what `tolerance` can turn round. Returns the
/// largest difference seen.
pub fn agrees_with_transformers(
    executor: &mut dyn Executor,
    name: &str,
    steps: usize,
    tolerance: f32,
) -> f32 {
    let mut largest = 0f32;
    for prompt in read(name).prompts {
        let rows: Vec<usize> = prompt.positions.iter().map(|p| p.row).collect();
        let slot = executor.kv_new();
        let mut batch = PackedBatch::new();
        batch.push(&prompt.tokens, 0, Some(slot), &[]);
        let logits = executor.forward(&batch, &rows).unwrap();
        let vocab = executor.config().vocab_size;
        for (position, ours) in prompt.positions.iter().zip(logits.chunks(vocab)) {
            let strided = (0..).step_by(position.stride).zip(&position.strided_logits);
            let top = position.top_ids.iter().copied().zip(&position.top_logits);
            for (token, theirs) in top.chain(strided) {
                let difference = (ours[token] - theirs).abs();
                assert!(
                    difference <= tolerance,
                    "{name}, row {}, token {token}: {} here, {theirs} in transformers",
                    position.row,
                    ours[token]
                );
                largest = largest.max(difference);
            }
        }
        let mut next = argmax(&logits[logits.len() - vocab..]);
        let greedy = prompt.greedy.iter().zip(&prompt.greedy_leads);
        for (step, (token, lead)) in greedy.take(steps).enumerate() {
            if *lead > 2.0 * tolerance {
                assert_eq!(next, *token, "{name}: greedy token {step}");
            }
            // Teacher forcing: a tie that fell the other way must not end the comparison.
            let mut batch = PackedBatch::new();
            batch.push(&[*token], prompt.tokens.len() + step, Some(slot), &[]);
            next = argmax(&executor.forward(&batch, &[0]).unwrap());
        }
        executor.kv_free(slot);
    }
    largest
}

fn argmax(logits: &[f32]) -> u32 {
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
    best.unwrap() as u32
}

fn read(name: &str) -> Fixture {
    let text = std::fs::read_to_string(fixture(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}
