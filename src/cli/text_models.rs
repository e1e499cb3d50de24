//! Opening a teacher or a judge: in this process, behind a URL, or by mistralrs.

use super::serve;
use super::settings::env;
use autodidact::config::{Config, TextModelConfig};
use autodidact::learn::ports::text_model::{Helpers, TextModel};
use autodidact::models::Models;
use autodidact::pool::{LocalModel, LocalText, OpenAiModel};
use autodidact_engine::scheduler::{Engine, Priority};
use std::path::Path;
use std::sync::Arc;

/// The catalogue, and the model that is open already.
pub struct TextModels {
    config: Config,
    models: Models,
    served: Option<Engine>,
}

impl TextModels {
    /// `served`: the engine of the configured model, if it runs.
    pub fn new(config: Config, models: Models, served: Option<Engine>) -> Self {
        TextModels {
            config,
            models,
            served,
        }
    }

    /// Opens the configured teacher and judge. A model that is both is opened once.
    pub fn helpers(&self) -> Result<Helpers, String> {
        let Config { teacher, judge, .. } = &self.config;
        let open = |section: &str, which: &Option<TextModelConfig>| {
            let opened = which.as_ref().map(|which| self.open(which));
            opened
                .transpose()
                .map_err(|error| format!("[{section}] {error}"))
        };
        let opened = open("teacher", teacher)?;
        let judge = match judge == teacher {
            true => opened.clone(),
            false => open("judge", judge)?,
        };
        Ok(Helpers {
            teacher: opened,
            judge,
        })
    }

    pub fn open(&self, which: &TextModelConfig) -> Result<Arc<dyn TextModel>, String> {
        match which {
            TextModelConfig::Native { model } => self.native(model),
            TextModelConfig::Url(settings) => {
                Ok(Arc::new(OpenAiModel::new(settings.clone(), env)?))
            }
            TextModelConfig::Mistral { gguf } => mistral(gguf),
        }
    }

    /// The serving engine if it has the same model, else a new engine beside it.
    fn native(&self, model: &str) -> Result<Arc<dyn TextModel>, String> {
        let engine = match &self.served {
            Some(engine) if model == self.config.model => engine.clone(),
            _ => {
                let config = Config {
                    model: model.to_owned(),
                    ..self.config.clone()
                };
                serve::open(&config, &self.models)?
            }
        };
        let local = LocalModel::new(engine, Priority::Ingest);
        Ok(Arc::new(LocalText::new(self.models.id(model), local)))
    }
}

#[cfg(feature = "mistralrs")]
fn mistral(gguf: &Path) -> Result<Arc<dyn TextModel>, String> {
    Ok(Arc::new(autodidact::pool::MistralModel::open(gguf)?))
}

#[cfg(not(feature = "mistralrs"))]
fn mistral(gguf: &Path) -> Result<Arc<dyn TextModel>, String> {
    let file = gguf.display();
    Err(format!(
        "mistralrs:{file}: this program was built without mistralrs; build it with --features \
         mistralrs, or run the file on its own engine: model = \"{file}\""
    ))
}
