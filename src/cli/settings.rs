//! How commands come by the configuration: the file that `--config` names, and the environment.

use std::path::PathBuf;

use autodidact::config::{Config, Overrides};
use clap::Args;

/// Which configuration file.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Configuration file [env: AUTODIDACT_CONFIG] [default: ./autodidact.toml, or the one in ~/.config/autodidact]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Settings {
    pub fn load(&self, flags: Overrides) -> Result<Config, String> {
        Config::load(self.config.as_deref(), env, flags).map_err(|error| error.to_string())
    }
}

/// An environment variable, if it is set and readable.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
