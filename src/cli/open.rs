//! Opening the configured model for commands without a server.

use super::serve;
use super::settings::{Settings, env};
use super::text_models::TextModels;
use autodidact::config::{Config, Overrides};
use autodidact::learn::options::precedence::SettingsStack;
use autodidact::models::Models;
use autodidact::pool::{LocalModel, open_executor};
use autodidact_engine::scheduler::{Engine, Priority};
use autodidact_engine::{Executor, ModelFiles};
use clap::Args;
use std::sync::Arc;

/// The model and how to run it.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    overrides: Overrides,
}

pub struct Opened {
    pub id: String,
    pub model: LocalModel,
    /// The learning settings of the catalogue entry and of the configuration.
    pub learning: SettingsStack,
    /// Opens a teacher or a judge beside the model.
    pub text_models: TextModels,
}

/// The model with its executor, without a scheduler.
pub struct OpenedExecutor {
    pub id: String,
    pub files: Arc<ModelFiles>,
    pub executor: Box<dyn Executor>,
    pub config: Config,
}

/// The model with its engine, which has a scheduler.
pub struct OpenedEngine {
    pub id: String,
    pub engine: Engine,
    pub config: Config,
}

impl ModelArgs {
    pub fn executor(self) -> Result<OpenedExecutor, String> {
        let (config, models) = self.config()?;
        let path = serve::locate(&config, &models)?;
        let opened = open_executor(&path, config.executor, config.threads);
        let (files, executor) = opened.map_err(|e| e.to_string())?;
        Ok(OpenedExecutor {
            id: models.id(&config.model),
            files,
            executor,
            config,
        })
    }

    pub fn engine(self) -> Result<OpenedEngine, String> {
        let (config, models) = self.config()?;
        Ok(OpenedEngine {
            id: models.id(&config.model),
            engine: serve::open(&config, &models)?,
            config,
        })
    }

    pub fn open(self) -> Result<Opened, String> {
        let (config, models) = self.config()?;
        let engine = serve::open(&config, &models)?;
        Ok(Opened {
            id: models.id(&config.model),
            model: LocalModel::new(engine.clone(), Priority::Ingest),
            learning: serve::learning(&config, &models)?,
            text_models: TextModels::new(config, models, Some(engine)),
        })
    }

    fn config(self) -> Result<(Config, Models), String> {
        let config = self.settings.load(self.overrides)?;
        let models = Models::open(&config, env).map_err(|e| e.to_string())?;
        Ok((config, models))
    }
}
