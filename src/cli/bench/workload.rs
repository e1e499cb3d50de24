//! Inputs of the benchmarks: token sequences without meaning, and adapters that change the outputs.

use autodidact_engine::{
    Example, Lora, LoraConfig, ModelConfig, Schedule, TrainConfig, TrainRequest,
};
use std::sync::Arc;

/// The rank of adapters in all benchmarks that do not vary it.
pub const RANK: usize = 16;

/// `n` tokens that hardly repeat. Another seed gives other tokens.
pub fn tokens(model: &ModelConfig, n: usize, seed: usize) -> Vec<u32> {
    let vocab = model.vocab_size.min(30_000);
    let token = |i: usize| ((i * 7919 + seed * 104_729 + 13) % vocab) as u32;
    (0..n).map(token).collect()
}

/// An adapter of random numbers on all linear layers.
pub fn adapter(model: &ModelConfig, rank: usize, seed: u64) -> Lora {
    Lora::random(LoraConfig::all_linear(rank, rank as f32), model, seed)
}

/// A training sequence of `n + 1` tokens: `n` are computed and supervised, and the last is only predicted.
pub fn example(model: &ModelConfig, n: usize, seed: usize) -> Example {
    Example::all(tokens(model, n + 1, seed))
}

/// A training configuration with all `examples` in every optimizer step.
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

/// A training request of `steps` steps with 8 × 128 tokens each.
pub fn training(model: &ModelConfig, steps: usize, seed: u64) -> TrainRequest {
    let examples: Arc<[Example]> = (0..8).map(|i| example(model, 128, i)).collect();
    TrainRequest {
        config: train_config(examples.len(), RANK, steps, seed),
        examples,
        init: None,
    }
}
