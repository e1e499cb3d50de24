//! `autodidact bench`: speed, latency and memory on this machine. Each benchmark has its own file.
//!
//! Each benchmark warms up, repeats, and prints the median, the minimum and the maximum of its repeats, below a
//! description of the machine. The goals are in the documentation; nothing here compares with them.

mod edits;
mod engine;
mod flops;
mod interference;
mod machine;
mod memory;
mod report;
mod swap;
mod workload;

use super::open::ModelArgs;
use clap::{Args, Subcommand};
use std::num::NonZeroUsize;

#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure training, prefill and decoding, in tokens a second
    Engine(engine::EngineBench),
    /// Measure self-edits evaluated a minute: train an adapter on each, then ask its questions closed book
    Edits(edits::EditsBench),
    /// Measure the milliseconds from publishing a version to the first answer that names it, while clients stream
    Swap(swap::SwapBench),
    /// Measure the milliseconds between a stream's tokens, on an idle engine and during training
    Interference(interference::InterferenceBench),
    /// Measure the resident memory (MiB) of a mixed run: training 8 adapters and serving 16 streams
    Memory(memory::MemoryBench),
}

/// Arguments of every benchmark.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    model: ModelArgs,
    /// Number of repeats [default: 5; edits, memory: 1]
    #[arg(long, value_name = "N")]
    repeats: Option<NonZeroUsize>,
    /// Print the figures as a JSON list
    #[arg(long)]
    json: bool,
}

impl Common {
    fn repeats(&self, default: usize) -> usize {
        self.repeats.map_or(default, NonZeroUsize::get)
    }
}

impl Bench {
    pub fn run(self) -> Result<(), String> {
        match self.what {
            What::Engine(bench) => bench.run(),
            What::Edits(bench) => bench.run(),
            What::Swap(bench) => bench.run(),
            What::Interference(bench) => bench.run(),
            What::Memory(bench) => bench.run(),
        }
    }
}

const USUAL_REPEATS: usize = 5;
