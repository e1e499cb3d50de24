//! The command line: a command a file, each a struct of arguments with a `run` that ends in one sentence
//! if it fails. No command means `serve`.

mod client;
mod demo;
mod health;
mod key;
mod model;
mod settings;

use clap::{Parser, Subcommand};

/// A language-model server that keeps learning.
#[derive(Debug, Parser)]
#[command(name = "autodidact", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List, fetch and verify models
    Model(model::ModelCommand),
    /// Make a bearer key and the hash to put into the configuration
    Key(key::Key),
    /// Ask a running server whether it is ready (exit status 0 if so)
    Health(health::Health),
    /// Learn twenty invented documents and show what came of it
    Demo(demo::Demo),
}

impl Cli {
    pub fn run(self) -> Result<(), String> {
        match self.command {
            Command::Model(model) => model.run(),
            Command::Key(key) => key.run(),
            Command::Health(health) => health.run(),
            Command::Demo(demo) => demo.run(),
        }
    }
}
