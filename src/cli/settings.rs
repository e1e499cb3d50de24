//! The configuration of a command: the file named by `--config`, and the environment.

use std::path::PathBuf;

use autodidact::config::{Config, Overrides};
use clap::Args;

/// The configuration file of a command.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Configuration file [env: AUTODIDACT_CONFIG] [default: ./autodidact.toml, else
    /// ~/.config/autodidact/autodidact.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Settings {
    pub fn load(&self, flags: Overrides) -> Result<Config, String> {
        Config::load(self.config.as_deref(), env, flags).map_err(|error| error.to_string())
    }
}

/// The value of an environment variable, if it is set and valid UTF-8.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
