//! `autodidact bench`: how fast, how smooth and how large this is, on this machine. A benchmark a file.
//!
//! Each one warms up, repeats, and tells the median with the least and the most of its repeats, below
//! the machine that it ran on. Nothing here judges: the goals are in the documentation, and a busy
//! machine measures its own business.

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
    /// Training, prefill and decoding, tokens a second
    Engine(engine::EngineBench),
    /// Self-edits tried a minute: train an adapter on each, ask its questions closed book
    Edits(edits::EditsBench),
    /// From publishing a version to the first answer that names it, while clients stream
    Swap(swap::SwapBench),
    /// The gaps between a stream's tokens, idle and while training runs beside it
    Interference(interference::InterferenceBench),
    /// Resident memory of a mixed run: training 8 adapters and serving 16 streams
    Memory(memory::MemoryBench),
}

/// What every benchmark takes.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    model: ModelArgs,
    /// How often to measure [default: 5; edits, memory: 1]
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
