//! A teacher or a judge: text in, text out. Neither needs adapters or training, so any model will do: one of
//! this process, one behind an OpenAI-compatible URL, or one that mistralrs runs (`crate::pool` has the three).

use super::model::{ModelError, Prompt, Sampling};
use super::watch::Watch;
use std::sync::Arc;

pub trait TextModel: Send + Sync {
    /// The model's name in reports and errors.
    fn name(&self) -> &str;

    /// `sampling.n` completions for each prompt: `[prompt][completion]`. Fails as [`ModelError::Stopped`] soon
    /// after `watch` wants it stopped.
    ///
    /// A completion never repeats the prompt's `prefill`. A model that cannot go on from a prefill is asked to
    /// begin with it, and the beginning is taken off.
    fn complete(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
        watch: &dyn Watch,
    ) -> Result<Vec<Vec<String>>, ModelError>;
}

/// The models that help the one that learns.
#[derive(Clone, Default)]
pub struct Helpers {
    /// Writes self-edits where `self_edit.writer` is `teacher`.
    pub teacher: Option<Arc<dyn TextModel>>,
    /// Grades answers where `gate.grader` is `judge`.
    pub judge: Option<Arc<dyn TextModel>>,
}

static NONE: Helpers = Helpers {
    teacher: None,
    judge: None,
};

impl Helpers {
    /// Nobody: the model is on its own.
    pub fn none() -> &'static Helpers {
        &NONE
    }
}
