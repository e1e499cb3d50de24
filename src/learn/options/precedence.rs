//! The learning settings that stand under a request's: what the model is tuned to, then the configuration.

use super::strategy::Strategy;
use super::update::{IngestOptions, OptionError};
use serde_json::{Value, json};
use std::sync::Arc;

/// Cloning shares them. The default has none but what is built in.
#[derive(Clone, Default)]
pub struct Layers(Arc<[Value]>);

impl Layers {
    /// The last one counts most. Fails if they ask for what cannot be.
    pub fn new(layers: Vec<Value>) -> Result<Self, OptionError> {
        IngestOptions::layered(&layers.iter().collect::<Vec<_>>())?;
        Ok(Layers(layers.into()))
    }

    /// Without any request.
    pub fn tuned(&self) -> IngestOptions {
        let layered = IngestOptions::layered(&self.0.iter().collect::<Vec<_>>());
        layered.expect("checked when they were laid")
    }

    /// Of a request. `made_by`: the strategy of the live version, if there is one. The alias goes on as it is unless
    /// the request says otherwise: what one adapter has learned is not left to chance by routing around it.
    pub fn under(
        &self,
        request: &Value,
        made_by: Option<Strategy>,
    ) -> Result<IngestOptions, OptionError> {
        let going_on = made_by.unwrap_or_else(|| self.tuned().training.strategy);
        let going_on = json!({"training": {"strategy": going_on}});
        let layers = self.0.iter().chain([&going_on, request]);
        IngestOptions::layered(&layers.collect::<Vec<_>>())
    }
}
