//! The losses of forty training steps equal those of torch and peft. Fixtures of `bench/peers/record_curve.py`.

use crate::common::{assert_close, cpu, fixture, reference};
use autodidact_engine::lora::peft;
use autodidact_engine::trainer::{Candidate, step};
use autodidact_engine::{Example, Executor, ModelFiles, Precision, Schedule, TrainConfig};
use serde::Deserialize;

#[derive(Deserialize)]
struct Curve {
    examples: Vec<Recorded>,
    steps: usize,
    learning_rate: f32,
    weight_decay: f32,
    clip_norm: f32,
    losses: Vec<f32>,
}

#[derive(Deserialize)]
struct Recorded {
    tokens: Vec<u32>,
    first_target: usize,
}

fn losses(name: &str, curve: &Curve, files: &ModelFiles, executor: &mut dyn Executor) -> Vec<f32> {
    let adapter = fixture(name).join("adapter");
    let read = |file| std::fs::read(adapter.join(file)).unwrap();
    let (config, tensors) = (peft::CONFIG_FILE, peft::WEIGHTS_FILE);
    let start = peft::from_files(&read(config), &read(tensors), &files.config).unwrap();
    let examples: Vec<Example> = (curve.examples.iter())
        .map(|e| {
            let (prompt, answer) = e.tokens.split_at(e.first_target);
            Example::completion(prompt, answer)
        })
        .collect();
    let config = TrainConfig {
        epochs: curve.steps,
        batch_size: examples.len(),
        learning_rate: curve.learning_rate,
        weight_decay: curve.weight_decay,
        clip_norm: curve.clip_norm,
        schedule: Schedule::Linear,
        ..TrainConfig::default()
    };
    let start = Candidate::new(config, examples, Some(&start), &files.config, 64).unwrap();
    let mut candidates = [start];
    while !candidates[0].finished() {
        step(executor, &mut candidates, 512).unwrap();
    }
    candidates[0].losses().to_vec()
}

#[test]
fn losses_fall_as_in_torch() {
    for name in ["peft_tiny/llama", "peft_tiny/qwen2"] {
        let files = ModelFiles::open(&fixture(name)).unwrap();
        let curve = std::fs::read_to_string(fixture(name).join("curve.json")).unwrap();
        let curve: Curve = serde_json::from_str(&curve).unwrap();
        assert!(curve.losses[curve.steps - 1] < 0.5 * curve.losses[0]);
        let executors: [(&str, Box<dyn Executor>); 2] = [
            ("reference", Box::new(reference(&files))),
            ("cpu", Box::new(cpu(&files, Precision::F32))),
        ];
        for (executor_name, mut executor) in executors {
            let losses = losses(name, &curve, &files, &mut *executor);
            let what = format!("{name}, {executor_name}");
            assert_close(&what, &losses, &curve.losses, 2e-3);
        }
    }
}
