//! A model of this process as teacher or judge: its base, without an adapter.

use super::LocalModel;
use crate::learn::ports::model::{Model, ModelError, Prompt, Sampling};
use crate::learn::ports::text_model::TextModel;
use crate::learn::ports::watch::Watch;

/// The base of this process as a text model.
pub struct LocalText {
    name: String,
    model: LocalModel,
}

impl LocalText {
    pub fn new(name: impl Into<String>, model: LocalModel) -> Self {
        LocalText {
            name: name.into(),
            model,
        }
    }
}

impl TextModel for LocalText {
    fn name(&self) -> &str {
        &self.name
    }

    fn complete(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
        watch: &dyn Watch,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        self.model.generate(prompts, None, sampling, watch)
    }
}
