//! `bench memory`: the resident memory of this process, and its growth.
//!
//! The run is mixed. Sixteen streams, half of them with adapters, start again with a new prompt as soon as they end.
//! Meanwhile eight fresh adapters train in every round (one step of 128 tokens each), and the streams use them next.
//! The resident set is read every ten milliseconds.
//!
//! Growth is the mean of the last fifth of the run over the mean of the fifth around the middle. In the first minutes
//! memory grows anyway: the prefix cache fills, gradients and moments become resident, and the heap settles. So a
//! meaningful growth needs some rounds before the measurement (`--warm-up 4`) and several rounds within it
//! (`--seconds 600`, and `rounds` in the table). The figures for tokens include the warm-up.

use super::Common;
use super::machine::Machine;
use super::report::{Figure, median, print, progress};
use super::workload::{RANK, adapter, example, tokens, train_config};
use crate::cli::open::OpenedEngine;
use autodidact_engine::{
    CompleteRequest, Engine, Error, Lora, Priority, Result, SamplingParams, TrainRequest,
};
use clap::Args;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub struct MemoryBench {
    #[command(flatten)]
    common: Common,
    /// Seconds of each measured run. Growth (last fifth over the fifth around the middle) is meaningful if several
    /// rounds of training fit in
    #[arg(long, value_name = "N", default_value = "60")]
    seconds: NonZeroU64,
    /// Rounds of training before the measurement
    #[arg(long, value_name = "ROUNDS", default_value = "0")]
    warm_up: usize,
}

const STREAMS: usize = 16;
const CANDIDATES: usize = 8;
const PROMPT: usize = 64;
const ANSWER: usize = 64;
const TICK: Duration = Duration::from_millis(10);
/// Tokens of a round's only optimizer step. The number is small, so that a small machine runs many rounds.
const TRAINED: usize = 128;

const TENTHS: usize = 10;

/// Resident memory in MiB.
struct Resident {
    peak: f64,
    /// Mean over every tenth of the run. A single reading would depend on the phase of training.
    tenths: [f64; TENTHS],
    /// Rounds of training that ended within the run.
    rounds: f64,
}

impl MemoryBench {
    pub fn run(self) -> std::result::Result<(), String> {
        let (repeats, json) = (self.common.repeats(1), self.common.json);
        let OpenedEngine { id, engine, config } = self.common.model.engine()?;
        let machine = Machine::measure(&id, &config);
        let idle = resident()?;
        let before = engine.stats();
        let mut runs = Vec::new();
        for nth in 1..=repeats {
            progress(&format!(
                "{} rounds to warm up, then {} s of mixed work, {nth} of {repeats}",
                self.warm_up, self.seconds
            ));
            let length = Duration::from_secs(self.seconds.get());
            runs.push(mixed(&engine, self.warm_up, length)?);
        }
        let after = engine.stats();
        let column = |of: fn(&Resident) -> f64| runs.iter().map(of).collect::<Vec<f64>>();
        let at = |tenth: usize| {
            let all: Vec<f64> = runs.iter().map(|r| r.tenths[tenth - 1]).collect();
            median(&all)
        };
        let means: Vec<f64> = (1..=TENTHS).map(at).collect();
        // The prefix cache fills up to the middle.
        let growth = 100.0 * ((at(9) + at(10)) / (at(5) + at(6)) - 1.0);
        let shape = format!(
            "{CANDIDATES} adapters in training, {STREAMS} streams, {} s",
            self.seconds
        );
        let figure = Figure::new("memory", shape)
            .measured("peak_mib", &column(|r| r.peak))
            .with("rounds", median(&column(|r| r.rounds)))
            .with("warm_up_rounds", self.warm_up)
            .with("idle_mib", idle)
            .with("mean_mib_of_each_tenth", means)
            .with("growth_percent", growth)
            .with("seconds", self.seconds.get())
            .with(
                "trained_tokens",
                after.trained_tokens - before.trained_tokens,
            )
            .with(
                "completion_tokens",
                after.completion_tokens - before.completion_tokens,
            );
        print(&machine, &[figure], json)
    }
}

fn mixed(
    engine: &Engine,
    warm_up: usize,
    length: Duration,
) -> std::result::Result<Resident, String> {
    let work = Work {
        engine,
        stop: Arc::default(),
        requests: AtomicUsize::new(0),
        rounds: AtomicUsize::new(0),
        adapters: Mutex::default(),
    };
    work.renew_adapters((0..CANDIDATES).map(|i| adapter(&engine.files().config, RANK, i as u64)));
    std::thread::scope(|scope| {
        let mut working: Vec<_> = (0..STREAMS)
            .map(|i| {
                scope.spawn({
                    let work = &work;
                    move || work.stream(i)
                })
            })
            .collect();
        let training = scope.spawn(|| work.train());
        while work.rounds.load(Ordering::Relaxed) < warm_up && !training.is_finished() {
            std::thread::sleep(TICK);
        }
        working.push(training);
        let watched = watch(length, &work.stop);
        work.stop.store(true, Ordering::Relaxed);
        for thread in working {
            let result = thread.join().unwrap_or(Err(Error::Stopped));
            result.map_err(|e| e.to_string())?;
        }
        let (peak, tenths) = watched?;
        Ok(Resident {
            peak,
            tenths,
            rounds: work.rounds.load(Ordering::Relaxed).saturating_sub(warm_up) as f64,
        })
    })
}

/// Reads the resident set until `length` has passed, or until `stop` is set after a failure. Returns the peak and the
/// mean of every tenth, in MiB.
fn watch(length: Duration, stop: &AtomicBool) -> std::result::Result<(f64, [f64; TENTHS]), String> {
    let start = Instant::now();
    let mut peak = 0.0_f64;
    let mut tenths = [(0.0, 0); TENTHS];
    while start.elapsed() < length && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(TICK);
        let now = resident()?;
        peak = peak.max(now);
        let done = start.elapsed().as_secs_f64() / length.as_secs_f64();
        let (sum, readings) = &mut tenths[((TENTHS as f64 * done) as usize).min(TENTHS - 1)];
        *sum += now;
        *readings += 1;
    }
    let mut before = peak;
    let tenths = tenths.map(|(sum, readings)| {
        // A tenth without readings repeats the previous value, or the peak if there is none.
        if readings > 0 {
            before = sum / f64::from(readings);
        }
        before
    });
    Ok((peak, tenths))
}

/// State that the threads share.
struct Work<'a> {
    engine: &'a Engine,
    stop: Arc<AtomicBool>,
    /// Number of the next prompt, so that no two prompts are equal.
    requests: AtomicUsize,
    rounds: AtomicUsize,
    adapters: Mutex<Vec<Arc<Lora>>>,
}

impl Work<'_> {
    /// Runs one stream. Every other stream uses an adapter.
    fn stream(&self, nth: usize) -> Result<()> {
        self.until_stopped(|| {
            let request = CompleteRequest {
                prompt: tokens(
                    &self.engine.files().config,
                    PROMPT,
                    self.requests.fetch_add(1, Ordering::Relaxed),
                ),
                adapters: self.adapter(nth).into_iter().collect(),
                sampling: SamplingParams {
                    ignore_eos: true,
                    ..SamplingParams::greedy(ANSWER)
                },
                n: 1,
                priority: Priority::Interactive,
            };
            self.engine.complete(vec![request]).map(drop)
        })
    }

    fn train(&self) -> Result<()> {
        let mut round = 0;
        self.until_stopped(|| {
            round += 1;
            let seed = |i: usize| (round * CANDIDATES + i) as u64;
            let request = |i| self.training(seed(i));
            let requests: Vec<TrainRequest> = (0..CANDIDATES).map(request).collect();
            let stop = self.stop.clone();
            let progress = Box::new(move |_: &[_]| !stop.load(Ordering::Relaxed));
            match self.engine.train(requests, Priority::Ingest, progress) {
                // The run has ended.
                Err(Error::Cancelled) => Ok(()),
                Err(error) => Err(error),
                Ok(trained) => {
                    self.renew_adapters(trained.into_iter().map(|t| t.lora));
                    self.rounds.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
            }
        })
    }

    fn training(&self, seed: u64) -> TrainRequest {
        TrainRequest {
            config: train_config(1, RANK, 1, seed),
            examples: [example(&self.engine.files().config, TRAINED, 0)].into(),
            init: None,
        }
    }

    /// Repeats `turn` until the run stops. A failure stops all threads.
    fn until_stopped(&self, mut turn: impl FnMut() -> Result<()>) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            turn().inspect_err(|_| self.stop.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    }

    fn adapter(&self, stream: usize) -> Option<Arc<Lora>> {
        let adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = stream.is_multiple_of(2).then_some(stream / 2)?;
        adapters.get(nth).cloned()
    }

    fn renew_adapters(&self, adapters: impl Iterator<Item = Lora>) {
        let fresh = adapters.map(Arc::new).collect();
        *self.adapters.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
    }
}

/// This process's resident set in MiB.
fn resident() -> std::result::Result<f64, String> {
    const STATUS: &str = "/proc/self/status";
    let status = std::fs::read_to_string(STATUS)
        .map_err(|e| format!("memory is read from {STATUS}, which only Linux has: {e}"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|l| l.trim().strip_suffix(" kB"));
    let kibibytes = kibibytes.and_then(|n| n.trim().parse::<f64>().ok());
    let mebibytes = kibibytes.map(|n| n / 1024.0);
    mebibytes.ok_or_else(|| format!("{STATUS} says no VmRSS in kB"))
}
