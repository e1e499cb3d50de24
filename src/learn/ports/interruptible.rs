//! A model together with the wish to stop it.

use super::model::{
    Adapter, Limits, Model, ModelError, OnStep, Prompt, Sampling, SoftTargets, Trained, Training,
};
use super::watch::Watch;

/// A model that works for one job: every wait for it ends as [`ModelError::Stopped`] soon after `watch`
/// wants it stopped. The methods are those of [`Model`].
#[derive(Clone, Copy)]
pub struct Interruptible<'a> {
    pub model: &'a dyn Model,
    pub watch: &'a dyn Watch,
}

impl<'a> Interruptible<'a> {
    pub fn new(model: &'a dyn Model, watch: &'a dyn Watch) -> Self {
        Interruptible { model, watch }
    }

    /// See [`Model::generate`].
    pub fn generate(
        &self,
        prompts: &[Prompt],
        adapter: Option<&Adapter>,
        sampling: &Sampling,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        self.model.generate(prompts, adapter, sampling, self.watch)
    }

    /// See [`Model::likelihood`].
    pub fn likelihood(
        &self,
        items: &[(Prompt, String)],
        adapter: Option<&Adapter>,
    ) -> Result<Vec<f32>, ModelError> {
        self.model.likelihood(items, adapter, self.watch)
    }

    /// See [`Model::tokens`].
    pub fn tokens(&self, text: &str) -> usize {
        self.model.tokens(text)
    }

    /// See [`Model::train`]. A training stops between two optimizer steps when `on_step` returns false, and also inside
    /// one when `watch` wants it stopped.
    pub fn train(
        &self,
        trainings: Vec<Training>,
        on_step: &mut OnStep<'_>,
    ) -> Result<Vec<Trained>, ModelError> {
        let limits = Limits {
            watch: self.watch,
            deadline: None,
        };
        self.model.train_within(trainings, on_step, &limits)
    }

    /// See [`Model::train_on_soft_targets`].
    pub fn train_on_soft_targets(
        &self,
        training: Training,
        targets: &SoftTargets,
        on_step: &mut OnStep<'_>,
    ) -> Result<Trained, ModelError> {
        self.model
            .train_on_soft_targets(training, targets, on_step, self.watch)
    }
}
