//! How smooth does a stream stay while the model learns? Prints the gaps between its tokens with the
//! server idle and with a training running, the training's speed, and the time of an AdamW update:
//!
//! ```text
//! cargo run --release --example smooth -- MODEL
//! ```

use autodidact_engine::trainer::{AdamW, Rates};
use autodidact_engine::{
    Cpu, CpuOptions, Engine, EngineOptions, Example, GenerateEvent, GenerateRequest, Lora,
    LoraConfig, ModelFiles, Priority, SamplingParams, TrainConfig, TrainRequest,
};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: smooth MODEL")?;
    let files = Arc::new(ModelFiles::open(path.as_ref())?);
    let config = files.config.clone();
    let mut lora = Lora::random(LoraConfig::all_linear(32, 64.0), &config, 1);
    let (grads, mut optimizer) = (lora.layers.clone(), AdamW::new(&lora));
    let rates = Rates {
        learning_rate_a: 1e-3,
        learning_rate_b: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.0,
    };
    optimizer.update(&mut lora, &grads, 1.0, &rates);
    let start = Instant::now();
    optimizer.update(&mut lora, &grads, 1.0, &rates);
    let parameters = lora.parameters() as f64 / 1e6;
    println!(
        "AdamW on {parameters:.1} M parameters: {:?}",
        start.elapsed()
    );

    let executor = Cpu::new(&files, CpuOptions::default())?;
    let engine = Engine::start(files, Box::new(executor), EngineOptions::default());
    let example = |i: u32| Example::all((0..100).map(|j| (i * 31 + j * j) % 9000).collect());
    let training = TrainRequest {
        config: TrainConfig::default(),
        examples: (0..8).map(example).collect(),
        init: None,
    };
    stream(&engine, "idle")?;
    let over = Arc::new(AtomicBool::new(false));
    let until = over.clone();
    std::thread::scope(|scope| {
        let progress = Box::new(move |_: &[_]| !until.load(Ordering::SeqCst));
        let job = scope.spawn(|| engine.train(vec![training], Priority::Ingest, progress));
        let before = (engine.stats().trained_tokens, Instant::now());
        let outcome = stream(&engine, "while training");
        let trained = engine.stats().trained_tokens - before.0;
        println!(
            "trained {:.0} tokens/s meanwhile",
            trained as f64 / before.1.elapsed().as_secs_f64()
        );
        over.store(true, Ordering::SeqCst);
        let _ = job.join();
        outcome
    })
}

fn stream(engine: &Engine, what: &str) -> Result<(), Box<dyn Error>> {
    let (sender, times) = channel();
    engine.generate(GenerateRequest {
        prompt: (100..120).collect(),
        adapters: Vec::new(),
        sampling: SamplingParams {
            ignore_eos: true,
            ..SamplingParams::greedy(300)
        },
        n: 1,
        priority: Priority::Interactive,
        sink: Box::new(move |event| match event {
            GenerateEvent::Token { .. } => sender.send(Instant::now()).is_ok(),
            _ => true,
        }),
    })?;
    let times: Vec<Instant> = times.iter().collect();
    let mut gaps: Vec<f64> = times
        .windows(2)
        .map(|w| (w[1] - w[0]).as_secs_f64() * 1e3)
        .collect();
    gaps.sort_by(f64::total_cmp);
    let at = |part: f64| gaps[(gaps.len() as f64 * part) as usize];
    println!(
        "{what}: gap p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
        at(0.5),
        at(0.95),
        at(0.99)
    );
    Ok(())
}
