//! Opening the configured model for commands that compute without a server.

use super::serve;
use super::settings::{Settings, env};
use autodidact::config::Overrides;
use autodidact::models::Models;
use autodidact::pool::LocalModel;
use autodidact_engine::scheduler::Priority;
use clap::Args;
use serde_json::Value;

/// Which model, run how.
#[derive(Debug, Args)]
pub struct ModelArgs {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    overrides: Overrides,
}

pub struct Opened {
    pub id: String,
    pub model: LocalModel,
    /// The learning settings its catalogue entry and the configuration bring.
    pub learning: [Value; 2],
}

impl ModelArgs {
    pub fn open(self) -> Result<Opened, String> {
        let config = self.settings.load(self.overrides)?;
        let models = Models::open(&config, env).map_err(|e| e.to_string())?;
        let engine = serve::open(&config, &models)?;
        Ok(Opened {
            id: models.id(&config.model),
            model: LocalModel::new(engine, Priority::Ingest),
            learning: [
                Value::Object(models.learning(&config.model)),
                Value::Object(config.learning),
            ],
        })
    }
}
