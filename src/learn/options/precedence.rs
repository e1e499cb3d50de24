//! The precedence of learning settings: a request over the configuration over the model's own over the
//! built-in defaults.

use super::error::OptionError;
use super::strategy::Strategy;
use super::update::IngestOptions;
use serde_json::{Value, json};
use std::sync::Arc;

/// The settings that every request is laid over, as partial JSON of [`IngestOptions`]; the last counts
/// most. Clones share one list. The default is empty: the built-in defaults alone.
#[derive(Clone, Default)]
pub struct SettingsStack(Arc<[Value]>);

impl SettingsStack {
    /// Fails if the settings, merged, are no valid [`IngestOptions`].
    pub fn new(settings: Vec<Value>) -> Result<Self, OptionError> {
        IngestOptions::merged(&settings.iter().collect::<Vec<_>>())?;
        Ok(SettingsStack(settings.into()))
    }

    /// The options without any request.
    pub fn tuned(&self) -> IngestOptions {
        let merged = IngestOptions::merged(&self.0.iter().collect::<Vec<_>>());
        merged.expect("checked when the stack was made")
    }

    /// The options of a request. `made_by`: the strategy of the live version, if there is one. An alias keeps
    /// its strategy unless the request names another: routing around an adapter would leave to chance what
    /// that adapter has learned.
    pub fn under(
        &self,
        request: &Value,
        made_by: Option<Strategy>,
    ) -> Result<IngestOptions, OptionError> {
        let strategy = made_by.unwrap_or_else(|| self.tuned().training.strategy);
        let strategy = json!({"training": {"strategy": strategy}});
        let settings = self.0.iter().chain([&strategy, request]);
        IngestOptions::merged(&settings.collect::<Vec<_>>())
    }
}
