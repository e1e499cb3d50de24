//! `bench engine`: the executor alone, without scheduler, sampling or HTTP.
//!
//! Training runs whole optimizer steps (forward, backward, AdamW) with one packed batch a step. Decoding runs the
//! forward pass of one token for every stream, after prompts of 64 tokens. The compared cases (base only, one adapter,
//! eight adapters) take turns, so that a busy moment of the machine affects all of them.

use super::machine::Machine;
use super::report::{Figure, median, print, progress};
use super::workload::{RANK, adapter, example, tokens, train_config};
use super::{Common, USUAL_REPEATS, flops};
use crate::cli::open::OpenedExecutor;
use autodidact_engine::trainer::{Candidate, step};
use autodidact_engine::{Executor, KvSlot, Lora, ModelConfig, PackedBatch, Result};
use clap::Args;
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, Args)]
pub struct EngineBench {
    #[command(flatten)]
    common: Common,
}

/// Tokens of a prompt before decoding, and tokens decoded by each stream in one repeat.
const PROMPT: usize = 64;
const DECODED: usize = 16;
const PREFILL: usize = 512;
const STREAMS: [usize; 4] = [1, 4, 16, 32];

struct Shape {
    description: &'static str,
    lengths: Vec<usize>,
    rank: usize,
    adapters: usize,
}

fn training_shapes() -> Vec<Shape> {
    let even = |description, rank, adapters| Shape {
        description,
        lengths: vec![128; 8],
        rank,
        adapters,
    };
    vec![
        even("8 × 128 tokens, r 16, 1 adapter", 16, 1),
        even("8 × 128 tokens, r 16, 8 adapters", 16, 8),
        even("8 × 128 tokens, r 32, 1 adapter", 32, 1),
        Shape {
            description: "1 × 512 and 11 × 46 tokens, r 16, 1 adapter",
            lengths: [vec![512], vec![46; 11]].concat(),
            rank: 16,
            adapters: 1,
        },
    ]
}

impl EngineBench {
    pub fn run(self) -> std::result::Result<(), String> {
        let (repeats, json) = (self.common.repeats(USUAL_REPEATS), self.common.json);
        let OpenedExecutor {
            id,
            files,
            executor,
            config,
        } = self.common.model.executor()?;
        let mut run = Run {
            machine: Machine::measure(&id, &config),
            model: files.config.clone(),
            executor,
            repeats,
        };
        let figures = run.all().map_err(|e| e.to_string())?;
        print(&run.machine, &figures, json)
    }
}

struct Run {
    machine: Machine,
    model: ModelConfig,
    executor: Box<dyn Executor>,
    repeats: usize,
}

impl Run {
    fn all(&mut self) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for shape in training_shapes() {
            progress(&format!("training, {}", shape.description));
            figures.push(self.train(&shape)?);
        }
        progress("prefill");
        figures.push(self.prefill()?);
        for streams in STREAMS {
            progress(&format!("decoding, {streams} streams"));
            figures.extend(self.decode(streams)?);
        }
        Ok(figures)
    }

    fn train(&mut self, shape: &Shape) -> Result<Figure> {
        let total: usize = shape.lengths.iter().sum();
        let mut candidates = (0..shape.adapters)
            .map(|nth| {
                let lengths = shape.lengths.iter().enumerate();
                let mine = lengths.filter(|(i, _)| i % shape.adapters == nth);
                let examples: Vec<_> = mine.map(|(i, n)| example(&self.model, *n, i)).collect();
                let steps = self.repeats + 1;
                let config = train_config(examples.len(), shape.rank, steps, nth as u64);
                let window = self.model.max_position;
                Candidate::new(config, examples, None, &self.model, window)
            })
            .collect::<Result<Vec<_>>>()?;
        let executor = &mut *self.executor;
        let seconds = timed(self.repeats, || {
            step(executor, &mut candidates, total).map(drop)
        })?;
        let work = flops::training(&self.model, total, total);
        Ok(self.figure("train", shape.description, total, work, &seconds))
    }

    fn prefill(&mut self) -> Result<Figure> {
        let prompt = tokens(&self.model, PREFILL, 1);
        let executor = &mut *self.executor;
        let seconds = timed(self.repeats, || {
            let slot = executor.kv_new();
            let mut batch = PackedBatch::new();
            batch.push(&prompt, 0, Some(slot), &[]);
            let done = executor.forward(&batch, &[PREFILL - 1]).map(drop);
            executor.kv_free(slot);
            done
        })?;
        let work = flops::forward(&self.model, PREFILL, 1);
        Ok(self.figure("prefill", "512 tokens, base", PREFILL, work, &seconds))
    }

    /// A figure from the `seconds` of each repeat, for `tokens` tokens and `work` floating-point operations.
    fn figure(
        &self,
        name: &'static str,
        shape: &str,
        tokens: usize,
        work: f64,
        seconds: &[f64],
    ) -> Figure {
        let speeds: Vec<f64> = seconds.iter().map(|s| tokens as f64 / s).collect();
        let figure = Figure::new(name, shape).measured("tokens_per_second", &speeds);
        let share = self
            .machine
            .share_of_peak(figure.median() * work / tokens as f64);
        figure.with("share_of_peak", share)
    }

    /// Decodes with the base only, with one adapter and, if there are enough streams, with eight adapters.
    fn decode(&mut self, streams: usize) -> Result<Vec<Figure>> {
        let counts = [0, 1, 8].into_iter().filter(|a| *a <= streams);
        let setups = counts
            .map(|adapters| self.prompted(streams, adapters))
            .collect::<Result<Vec<_>>>()?;
        let mut speeds = vec![Vec::new(); setups.len()];
        for round in 0..=self.repeats {
            for (setup, speeds) in setups.iter().zip(&mut speeds) {
                let speed = (DECODED * streams) as f64 / self.decode_once(setup)?;
                // The first round is the warm-up.
                if round > 0 {
                    speeds.push(speed);
                }
            }
        }
        for stream in setups.iter().flatten() {
            self.executor.kv_free(stream.prompt);
        }
        let description = ["base", "1 adapter r 16", "8 adapters r 16"];
        let figures = speeds.iter().zip(description).enumerate();
        Ok(figures
            .map(|(i, (mine, description))| {
                let figure = Figure::new("decode", format!("{streams} streams, {description}"))
                    .measured("tokens_per_second", mine);
                if i == 0 {
                    return figure;
                }
                let ratios = mine.iter().zip(&speeds[0]).map(|(mine, base)| mine / base);
                figure.with("ratio_to_base", median(&ratios.collect::<Vec<_>>()))
            })
            .collect())
    }

    /// Streams with computed prompts. Stream i uses adapter i % adapters.
    fn prompted(&mut self, streams: usize, adapters: usize) -> Result<Vec<Stream>> {
        let adapter = |i| Arc::new(adapter(&self.model, RANK, i as u64));
        let loras: Vec<Arc<Lora>> = (0..adapters).map(adapter).collect();
        let streams: Vec<Stream> = (0..streams)
            .map(|i| Stream {
                prompt: self.executor.kv_new(),
                stack: loras.iter().cycle().skip(i).take(1).cloned().collect(),
            })
            .collect();
        let mut batch = PackedBatch::new();
        for (i, stream) in streams.iter().enumerate() {
            let prompt = tokens(&self.model, PROMPT, i);
            batch.push(&prompt, 0, Some(stream.prompt), &stream.stack);
        }
        self.executor.forward(&batch, &[0])?;
        Ok(streams)
    }

    /// Seconds for `DECODED` tokens of every stream, starting at its prompt.
    fn decode_once(&mut self, streams: &[Stream]) -> Result<f64> {
        let fork = |s: &Stream| self.executor.kv_fork(s.prompt, PROMPT);
        let slots: Vec<KvSlot> = streams.iter().map(fork).collect();
        let rows: Vec<usize> = (0..streams.len()).collect();
        let start = Instant::now();
        for nth in 0..DECODED {
            let mut batch = PackedBatch::new();
            for (i, (stream, slot)) in streams.iter().zip(&slots).enumerate() {
                let token = tokens(&self.model, 1, i + nth);
                batch.push(&token, PROMPT + nth, Some(*slot), &stream.stack);
            }
            self.executor.forward(&batch, &rows)?;
        }
        let seconds = start.elapsed().as_secs_f64();
        slots.into_iter().for_each(|s| self.executor.kv_free(s));
        Ok(seconds)
    }
}

struct Stream {
    /// KV slot with the stream's prompt.
    prompt: KvSlot,
    stack: Vec<Arc<Lora>>,
}

/// Seconds of each repeat, after one warm-up.
fn timed(repeats: usize, mut run: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    run()?;
    (0..repeats)
        .map(|_| {
            let start = Instant::now();
            run().map(|()| start.elapsed().as_secs_f64())
        })
        .collect()
}
