//! Who writes self-edits: the model that learns from them, or a teacher.

use crate::learn::options::self_edit::Writer;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{Adapter, ModelError, Prompt, Sampling};
use crate::learn::ports::text_model::{Helpers, TextModel};
use crate::learn::ports::watch::Watch;

#[derive(Clone, Copy)]
pub enum Author<'a> {
    /// The model that learns; without an adapter the base.
    Policy {
        model: Interruptible<'a>,
        adapter: Option<&'a Adapter>,
    },
    Teacher {
        model: &'a dyn TextModel,
        watch: &'a dyn Watch,
    },
}

impl<'a> Author<'a> {
    /// The author that `writer` names. Fails as [`ModelError::Missing`] where the teacher is to write and
    /// there is none.
    pub fn new(
        writer: Writer,
        model: Interruptible<'a>,
        policy: Option<&'a Adapter>,
        helpers: &'a Helpers,
    ) -> Result<Self, ModelError> {
        match writer {
            Writer::Policy => Ok(Author::policy(model, policy)),
            Writer::Teacher => Ok(Author::Teacher {
                model: helpers
                    .teacher
                    .as_deref()
                    .ok_or(ModelError::Missing("teacher"))?,
                watch: model.watch,
            }),
        }
    }

    /// The model that learns, with its policy adapter; without one the base.
    pub fn policy(model: Interruptible<'a>, adapter: Option<&'a Adapter>) -> Self {
        Author::Policy { model, adapter }
    }

    /// `sampling.n` completions for each prompt.
    pub fn generate(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        match self {
            Author::Policy { model, adapter } => model.generate(prompts, *adapter, sampling),
            Author::Teacher { model, watch } => model.complete(prompts, sampling, *watch),
        }
    }

    /// The teacher's name; `None` if the model writes itself.
    pub fn teacher(&self) -> Option<String> {
        match self {
            Author::Policy { .. } => None,
            Author::Teacher { model, .. } => Some(model.name().to_owned()),
        }
    }
}
