//! `bench interference`: the effect of training on the gaps between a stream's tokens.
//!
//! The benchmark times one stream token by token at the engine's sink: first alone, then while an adapter trains in
//! the same engine (8 × 128 tokens, rank 16, at a document's priority).

use super::machine::Machine;
use super::report::{Figure, percentile, print, progress};
use super::workload::{RANK, tokens, training};
use super::{Common, USUAL_REPEATS};
use crate::cli::open::OpenedEngine;
use autodidact_engine::{
    Engine, Error, GenerateEvent, GenerateRequest, Priority, Result, SamplingParams,
};
use clap::Args;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Instant;

#[derive(Debug, Args)]
pub struct InterferenceBench {
    #[command(flatten)]
    common: Common,
    /// Tokens of each stream
    #[arg(long, value_name = "N", default_value_t = 1000)]
    tokens: usize,
}

const PROMPT: usize = 64;

/// The gaps of one stream, and the speed of training beside it.
struct Watched {
    gaps_ms: Vec<f64>,
    trained_per_second: f64,
}

impl InterferenceBench {
    pub fn run(self) -> std::result::Result<(), String> {
        if self.tokens < 2 {
            return Err("--tokens: a gap takes at least 2 tokens".into());
        }
        let (repeats, json) = (self.common.repeats(USUAL_REPEATS), self.common.json);
        let OpenedEngine { id, engine, config } = self.common.model.engine()?;
        let machine = Machine::measure(&id, &config);
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for repeat in 0..=repeats {
            progress(&format!("streams, {repeat} of {repeats}"));
            let alone = watch(&engine, self.tokens, repeat).map_err(|e| e.to_string())?;
            // The first stream is the warm-up.
            if repeat > 0 {
                let beside = beside_training(&engine, || watch(&engine, self.tokens, repeat));
                idle.push(alone);
                busy.push(beside.map_err(|e| e.to_string())?);
            }
        }
        print(&machine, &figures(&idle, &busy), json)
    }
}

fn figures(idle: &[Watched], busy: &[Watched]) -> Vec<Figure> {
    let p95 = |w: &Watched| percentile(&w.gaps_ms, 0.95);
    let of = |told: &str, all: &[Watched]| {
        let medians: Vec<f64> = all.iter().map(|w| percentile(&w.gaps_ms, 0.5)).collect();
        let tails: Vec<f64> = all.iter().map(p95).collect();
        let longest = all.iter().flat_map(|w| &w.gaps_ms).copied();
        let trained: Vec<f64> = all.iter().map(|w| w.trained_per_second).collect();
        Figure::new("interference", told)
            .measured("p95_ms", &tails)
            .with("p50_ms", percentile(&medians, 0.5))
            .with("longest_ms", longest.fold(0.0, f64::max))
            .with("trained_tokens_per_second", percentile(&trained, 0.5))
    };
    let ratios: Vec<f64> = idle
        .iter()
        .zip(busy)
        .map(|(i, b)| p95(b) / p95(i))
        .collect();
    vec![
        of("one stream, idle", idle),
        of("one stream while training", busy),
        Figure::new("interference", "p95 while training to p95 idle").measured("ratio", &ratios),
    ]
}

/// The milliseconds between the tokens of one stream.
fn watch(engine: &Engine, tokens_wanted: usize, seed: usize) -> Result<Watched> {
    let (sender, events) = channel();
    let (start, before) = (Instant::now(), engine.stats().trained_tokens);
    engine.generate(GenerateRequest {
        prompt: tokens(&engine.files().config, PROMPT, seed),
        adapters: Vec::new(),
        sampling: SamplingParams {
            ignore_eos: true,
            ..SamplingParams::greedy(tokens_wanted)
        },
        n: 1,
        priority: Priority::Interactive,
        sink: Box::new(move |event| sender.send((Instant::now(), event)).is_ok()),
    })?;
    let mut times = Vec::new();
    for (time, event) in events {
        match event {
            GenerateEvent::Token { .. } => times.push(time),
            GenerateEvent::Finished { .. } => break,
            GenerateEvent::Failed { error } => return Err(Error::Executor(error)),
        }
    }
    let trained = (engine.stats().trained_tokens - before) as f64;
    let gap = |pair: &[Instant]| (pair[1] - pair[0]).as_secs_f64() * 1e3;
    Ok(Watched {
        gaps_ms: times.windows(2).map(gap).collect(),
        trained_per_second: trained / start.elapsed().as_secs_f64(),
    })
}

/// Runs `work` while an adapter trains. `work` starts after the first optimizer step; training stops when it is done.
fn beside_training<T>(engine: &Engine, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = Arc::new(AtomicBool::new(false));
    let (stepped, first_step) = channel();
    let told = done.clone();
    let progress = Box::new(move |_: &[_]| {
        // Only the first step has a receiver.
        let _ = stepped.send(());
        !told.load(Ordering::Relaxed)
    });
    let endless = training(&engine.files().config, usize::MAX / RANK, 0);
    std::thread::scope(|scope| {
        let training = scope.spawn(|| engine.train(vec![endless], Priority::Ingest, progress));
        let result = match first_step.recv() {
            Ok(()) => work(),
            // The training failed before its first step. Its own error follows below.
            Err(_) => Err(Error::Stopped),
        };
        done.store(true, Ordering::Relaxed);
        match training.join() {
            Ok(Err(Error::Cancelled)) => result,
            Ok(Err(error)) => Err(error),
            // The training has too many steps to reach its end.
            Ok(Ok(_)) | Err(_) => Err(Error::Stopped),
        }
    })
}
