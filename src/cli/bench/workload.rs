//! What the benchmarks feed the engine: token sequences that mean nothing, adapters that do something.

use autodidact_engine::{
    Example, Lora, LoraConfig, ModelConfig, Schedule, TrainConfig, TrainRequest,
};
use std::sync::Arc;

/// The rank of every adapter whose rank is not what is measured.
pub const RANK: usize = 16;

/// `n` tokens that hardly repeat; others for another seed.
pub fn tokens(model: &ModelConfig, n: usize, seed: usize) -> Vec<u32> {
    let vocab = model.vocab_size.min(30_000);
    let token = |i: usize| ((i * 7919 + seed * 104_729 + 13) % vocab) as u32;
    (0..n).map(token).collect()
}

/// An adapter of random numbers on all linear layers.
pub fn adapter(model: &ModelConfig, rank: usize, seed: u64) -> Lora {
    Lora::random(LoraConfig::all_linear(rank, rank as f32), model, seed)
}

/// A sequence that costs `n` computed tokens, each of them supervised: one more is only predicted.
pub fn example(model: &ModelConfig, n: usize, seed: usize) -> Example {
    Example::all(tokens(model, n + 1, seed))
}

/// All `examples` in every optimizer step.
pub fn train_config(examples: usize, rank: usize, steps: usize, seed: u64) -> TrainConfig {
    TrainConfig {
        lora: LoraConfig::all_linear(rank, rank as f32),
        epochs: steps,
        batch_size: examples,
        schedule: Schedule::Constant,
        seed,
        ..Default::default()
    }
}

/// 8 × 128 tokens in every step, for this many steps.
pub fn training(model: &ModelConfig, steps: usize, seed: u64) -> TrainRequest {
    let examples: Arc<[Example]> = (0..8).map(|i| example(model, 128, i)).collect();
    TrainRequest {
        config: train_config(examples.len(), RANK, steps, seed),
        examples,
        init: None,
    }
}
