//! Text in, text out: all that is asked of a teacher or a judge. They need no adapters and no training,
//! so they may be any model anywhere: one of this process, one behind an OpenAI-compatible URL, or one
//! that mistralrs runs (`crate::pool` has the three).

use super::model::{ModelError, Prompt, Sampling, ShouldStop};
use std::sync::Arc;

pub trait TextModel: Send + Sync {
    /// What reports and errors call it.
    fn name(&self) -> &str;

    /// `sampling.n` completions for each prompt. Ends as [`ModelError::Stopped`] soon after `stop` says so.
    ///
    /// A model that cannot go on from a prompt's `prefill` is asked to begin so, and the beginning is
    /// taken off: a completion never repeats it.
    fn complete(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
        stop: &ShouldStop<'_>,
    ) -> Result<Vec<Vec<String>>, ModelError>;
}

/// The models that stand beside the one that learns.
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
