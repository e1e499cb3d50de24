//! The command line: a command a file, each a struct of arguments with a `run` that ends in one sentence
//! if it fails. No command means `serve`.

mod bench;
mod client;
mod configuration;
mod demo;
mod grade;
mod health;
mod key;
mod model;
mod open;
mod openapi;
mod probes;
mod reproduce;
mod serve;
mod settings;
mod text_models;

use clap::{Parser, Subcommand};

/// A language-model server that keeps learning.
#[derive(Debug, Parser)]
#[command(
    name = "autodidact",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the model (the default)
    Serve(serve::Serve),
    /// List, fetch and verify models
    Model(model::ModelCommand),
    /// Print the API's description (OpenAPI 3.1)
    Openapi(openapi::Openapi),
    /// Print every setting as a page of Markdown
    Configuration(configuration::Configuration),
    /// Make a bearer key and the hash to put into the configuration
    Key(key::Key),
    /// Ask a running server whether it is ready (exit status 0 if so)
    Health(health::Health),
    /// Learn twenty invented documents and show what came of it
    Demo(demo::Demo),
    /// Compare the graders with an expert's verdicts
    Grade(grade::Grade),
    /// Ask a model the general questions that every update is measured by
    Probes(probes::Probes),
    /// Measure speed, latency and memory on this machine
    Bench(bench::Bench),
    /// Measure the paper's tables on this model and your data
    Reproduce(Box<reproduce::Reproduce>),
}

impl Cli {
    pub fn run(self) -> Result<(), String> {
        let Some(command) = self.command else {
            return self.serve.run();
        };
        match command {
            Command::Serve(serve) => serve.run(),
            Command::Bench(bench) => bench.run(),
            Command::Openapi(openapi) => openapi.run(),
            Command::Configuration(configuration) => configuration.run(),
            Command::Grade(grade) => grade.run(),
            Command::Probes(probes) => probes.run(),
            Command::Reproduce(reproduce) => reproduce.run(),
            Command::Model(model) => model.run(),
            Command::Key(key) => key.run(),
            Command::Health(health) => health.run(),
            Command::Demo(demo) => demo.run(),
        }
    }
}
