//! The command line. Each command has its own file with a struct of arguments and a function `run`, which returns one
//! sentence if it fails. The default command is `serve`.

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
    /// Start the server (the default)
    Serve(serve::Serve),
    /// List, fetch and verify models
    Model(model::ModelCommand),
    /// Print the API's description (OpenAPI 3.1)
    Openapi(openapi::Openapi),
    /// Print all settings as a page of Markdown
    Configuration(configuration::Configuration),
    /// Make a bearer key and the hash to put into the configuration
    Key(key::Key),
    /// Check that a running server is ready (exit status 0 if it is)
    Health(health::Health),
    /// Learn twenty invented documents and show the answers before and after
    Demo(demo::Demo),
    /// Compare the graders with an expert's verdicts
    Grade(grade::Grade),
    /// Ask a model the general questions that every update is checked with
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
