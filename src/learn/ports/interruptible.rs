//! A model together with the wish to stop it.

use super::model::{
    Adapter, Model, ModelError, OnStep, Prompt, Sampling, ShouldStop, SoftTargets, Trained,
    Training,
};

/// A model that works for one job: every wait for it ends as [`ModelError::Stopped`] soon after `stop`
/// returns true. The methods are those of [`Model`].
#[derive(Clone, Copy)]
pub struct Interruptible<'a> {
    pub model: &'a dyn Model,
    pub stop: &'a ShouldStop<'a>,
}

impl<'a> Interruptible<'a> {
    pub fn new(model: &'a dyn Model, stop: &'a ShouldStop<'a>) -> Self {
        Interruptible { model, stop }
    }

    /// See [`Model::generate`].
    pub fn generate(
        &self,
        prompts: &[Prompt],
        adapter: Option<&Adapter>,
        sampling: &Sampling,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        self.model.generate(prompts, adapter, sampling, self.stop)
    }

    /// See [`Model::likelihood`].
    pub fn likelihood(
        &self,
        items: &[(Prompt, String)],
        adapter: Option<&Adapter>,
    ) -> Result<Vec<f32>, ModelError> {
        self.model.likelihood(items, adapter, self.stop)
    }

    /// See [`Model::tokens`].
    pub fn tokens(&self, text: &str) -> usize {
        self.model.tokens(text)
    }

    /// See [`Model::train`]: a training stops between two optimizer steps, when `on_step` returns false.
    pub fn train(
        &self,
        trainings: Vec<Training>,
        on_step: &mut OnStep<'_>,
    ) -> Result<Vec<Trained>, ModelError> {
        self.model.train(trainings, on_step)
    }

    /// See [`Model::train_on_soft_targets`].
    pub fn train_on_soft_targets(
        &self,
        training: Training,
        targets: &SoftTargets,
        on_step: &mut OnStep<'_>,
    ) -> Result<Trained, ModelError> {
        self.model
            .train_on_soft_targets(training, targets, on_step, self.stop)
    }
}
