//! Trainings that end inside a step: the step is thrown away, and what the steps before made is kept or dropped.

use autodidact_engine::tiny::write_tiny;
use autodidact_engine::{
    Cpu, CpuOptions, Engine, EngineOptions, Error, Example, Family, LoraConfig, ModelFiles,
    Priority, TrainConfig, TrainRequest,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn engine() -> Engine {
    let dir = tempfile::tempdir().unwrap();
    write_tiny(dir.path(), Family::Llama, 7).unwrap();
    let files = ModelFiles::open(dir.path()).unwrap();
    let executor = Cpu::new(&files, CpuOptions::default()).unwrap();
    Engine::start(files.into(), Box::new(executor), EngineOptions::default())
}

/// Two steps an epoch, each of several micro-batches, and each of those of several parts.
fn request(epochs: usize) -> TrainRequest {
    let example = |i: u32| Example::all((0..400).map(|t| (t * 7 + i) % 200).collect());
    TrainRequest {
        config: TrainConfig {
            lora: LoraConfig::all_linear(2, 4.0),
            epochs,
            batch_size: 3,
            ..TrainConfig::default()
        },
        examples: (0..6).map(example).collect(),
        init: None,
    }
}

const NEVER: fn() -> bool = || false;

#[test]
fn a_training_that_had_enough_is_what_its_finished_steps_made() {
    let engine = engine();
    // Ends at the very beginning of step 2.
    let steps = Arc::new(AtomicUsize::new(0));
    let counted = steps.clone();
    let progress = Box::new(move |_: &[_]| {
        counted.fetch_add(1, Ordering::SeqCst);
        true
    });
    let seen = steps.clone();
    let two_done = Box::new(move || seen.load(Ordering::SeqCst) == 2);
    let between = engine
        .train_until(
            vec![request(4)],
            Priority::Ingest,
            (progress, two_done),
            &NEVER,
        )
        .unwrap();
    assert_eq!(between[0].losses.len(), 2);

    // Ends some parts later, inside step 2.
    let steps = Arc::new(AtomicUsize::new(0));
    let counted = steps.clone();
    let progress = Box::new(move |_: &[_]| {
        counted.fetch_add(1, Ordering::SeqCst);
        true
    });
    let mut parts = 0;
    let inside_a_step = Box::new(move || {
        parts += usize::from(steps.load(Ordering::SeqCst) == 2);
        parts > 4
    });
    let inside = engine
        .train_until(
            vec![request(4)],
            Priority::Ingest,
            (progress, inside_a_step),
            &NEVER,
        )
        .unwrap();
    assert_eq!(inside[0].losses, between[0].losses);
    assert_eq!(inside[0].lora, between[0].lora);

    // Before the first step there is only the adapter that it would have begun with.
    let all = Box::new(|_: &[_]| true);
    let nothing = engine
        .train_until(
            vec![request(4)],
            Priority::Ingest,
            (all, Box::new(|| true)),
            &NEVER,
        )
        .unwrap();
    assert!(nothing[0].losses.is_empty());
    let pairs = nothing[0].lora.layers.iter().flatten().flatten();
    assert!(pairs.flat_map(|pair| &pair.b).all(|b| *b == 0.0));
}

#[test]
fn a_training_that_nobody_waits_for_is_dropped_inside_its_step() {
    let engine = engine();
    let begun = Arc::new(AtomicBool::new(false));
    let tell = begun.clone();
    // Never enough; tells that the first part is about to be computed.
    let enough = Box::new(move || {
        tell.store(true, Ordering::SeqCst);
        false
    });
    let steps = Arc::new(AtomicUsize::new(0));
    let counted = steps.clone();
    let progress = Box::new(move |_: &[_]| {
        counted.fetch_add(1, Ordering::SeqCst);
        true
    });
    let stop = move || begun.load(Ordering::SeqCst);
    let endless = vec![request(1_000_000)];
    let cancelled = engine.train_until(endless, Priority::Ingest, (progress, enough), &stop);
    assert!(matches!(cancelled, Err(Error::Cancelled)));
    // The next training is as if there had been none before.
    let after = engine.train(vec![request(1)], Priority::Ingest, Box::new(|_| true));
    let alone = self::engine().train(vec![request(1)], Priority::Ingest, Box::new(|_| true));
    assert_eq!(after.unwrap()[0].lora, alone.unwrap()[0].lora);
    assert!(steps.load(Ordering::SeqCst) < 2_000_000);
    assert_eq!(engine.stats().training, 0);
}
