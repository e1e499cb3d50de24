//! Models, text models and journals that tests script.

use crate::learn::ports::journal::{Interrupted, Journal};
use crate::learn::ports::model::{
    Adapter, Limits, Model, ModelError, OnStep, Prompt, Sampling, Trained, Training,
};
use crate::learn::ports::text_model::TextModel;
use crate::learn::ports::watch::Watch;
use autodidact_engine::{Lora, LoraConfig};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

type Generate = dyn Fn(&Prompt, Option<&Adapter>, &Sampling) -> Vec<String> + Send + Sync;
type Likelihood = dyn Fn(&Prompt, &str, Option<&Adapter>) -> f32 + Send + Sync;
type Train = dyn Fn(&Training, usize) -> Result<Trained, ModelError> + Send + Sync;

/// A model whose answers are closures. It keeps every call. Unscripted, it panics where it is to generate
/// or train, and finds every answer equally likely.
pub(crate) struct ScriptedModel {
    generate: Box<Generate>,
    likelihood: Box<Likelihood>,
    train: Box<Train>,
    /// Optimizer steps that a training tells of.
    steps: usize,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    names: Vec<&'static str>,
    prompts: Vec<Prompt>,
    trainings: Vec<Vec<Training>>,
}

impl Default for ScriptedModel {
    fn default() -> Self {
        ScriptedModel {
            generate: Box::new(|_, _, _| panic!("nothing is generated here")),
            likelihood: Box::new(|_, _, _| -1.0),
            train: Box::new(|_, _| panic!("nothing is trained here")),
            steps: 1,
            calls: Mutex::default(),
        }
    }
}

impl ScriptedModel {
    /// One answer to each prompt, for all of the `n` completions.
    pub(crate) fn answering(
        self,
        answer: impl Fn(&Prompt, Option<&Adapter>) -> String + Send + Sync + 'static,
    ) -> Self {
        self.generating(move |prompt, adapter, sampling| vec![answer(prompt, adapter); sampling.n])
    }

    /// The completions of each prompt.
    pub(crate) fn generating(
        self,
        generate: impl Fn(&Prompt, Option<&Adapter>, &Sampling) -> Vec<String> + Send + Sync + 'static,
    ) -> Self {
        ScriptedModel {
            generate: Box::new(generate),
            ..self
        }
    }

    /// Mean log-likelihood of an answer after its prompt.
    pub(crate) fn finding(
        self,
        likelihood: impl Fn(&Prompt, &str, Option<&Adapter>) -> f32 + Send + Sync + 'static,
    ) -> Self {
        ScriptedModel {
            likelihood: Box::new(likelihood),
            ..self
        }
    }

    /// The adapter that each training returns. The closure gets the number of the call, from 1.
    pub(crate) fn training(
        self,
        train: impl Fn(&Training, usize) -> Result<Trained, ModelError> + Send + Sync + 'static,
    ) -> Self {
        ScriptedModel {
            train: Box::new(train),
            ..self
        }
    }

    pub(crate) fn with_steps(self, steps: usize) -> Self {
        ScriptedModel { steps, ..self }
    }

    /// The calls so far: generate, likelihood or train.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().names.clone()
    }

    /// The prompts of all calls of `generate`.
    pub(crate) fn prompts(&self) -> Vec<Prompt> {
        self.calls.lock().unwrap().prompts.clone()
    }

    /// The trainings, call by call.
    pub(crate) fn training_calls(&self) -> Vec<Vec<Training>> {
        self.calls.lock().unwrap().trainings.clone()
    }

    pub(crate) fn trainings(&self) -> Vec<Training> {
        self.training_calls().concat()
    }
}

impl Model for ScriptedModel {
    fn window(&self) -> usize {
        1 << 20
    }

    /// A word is a token.
    fn tokens(&self, text: &str) -> usize {
        crate::text::words::count(text)
    }

    fn generate(
        &self,
        prompts: &[Prompt],
        adapter: Option<&Adapter>,
        sampling: &Sampling,
        _: &dyn Watch,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        let mut calls = self.calls.lock().unwrap();
        calls.names.push("generate");
        calls.prompts.extend(prompts.to_vec());
        drop(calls);
        let completions = prompts
            .iter()
            .map(|p| (self.generate)(p, adapter, sampling));
        Ok(completions.collect())
    }

    fn likelihood(
        &self,
        items: &[(Prompt, String)],
        adapter: Option<&Adapter>,
        _: &dyn Watch,
    ) -> Result<Vec<f32>, ModelError> {
        self.calls.lock().unwrap().names.push("likelihood");
        let of = |(prompt, answer): &(Prompt, String)| (self.likelihood)(prompt, answer, adapter);
        Ok(items.iter().map(of).collect())
    }

    fn train_within(
        &self,
        trainings: Vec<Training>,
        on_step: &mut OnStep<'_>,
        limits: &Limits<'_>,
    ) -> Result<Vec<Trained>, ModelError> {
        let mut calls = self.calls.lock().unwrap();
        calls.names.push("train");
        calls.trainings.push(trainings.clone());
        let nth = calls.trainings.len();
        drop(calls);
        for step in 1..=self.steps {
            if !on_step(step, self.steps, 1.0 / step as f32) || limits.watch.stopped() {
                return Err(ModelError::Stopped);
            }
        }
        trainings.iter().map(|t| (self.train)(t, nth)).collect()
    }
}

/// An empty adapter with a number, its alpha, that distinguishes it from others.
pub(crate) fn numbered_adapter(number: usize) -> Adapter {
    let config = LoraConfig {
        rank: 1,
        alpha: number as f32,
        targets: Vec::new(),
    };
    Adapter(Arc::new(Lora {
        config,
        layers: Vec::new(),
        extras: None,
    }))
}

pub(crate) fn number_of(adapter: &Adapter) -> usize {
    adapter.0.config.alpha as usize
}

/// A text model named "scripted" that gives its answers in turn, and from the first again. It keeps every
/// call.
pub(crate) struct ScriptedText {
    answers: Vec<&'static str>,
    calls: Mutex<Vec<(Vec<Prompt>, Sampling)>>,
}

impl ScriptedText {
    pub(crate) fn new(answers: &[&'static str]) -> Self {
        ScriptedText {
            answers: answers.to_vec(),
            calls: Mutex::default(),
        }
    }

    pub(crate) fn calls(&self) -> Vec<(Vec<Prompt>, Sampling)> {
        self.calls.lock().unwrap().clone()
    }

    /// The user's turns of all prompts.
    pub(crate) fn asked(&self) -> Vec<String> {
        let calls = self.calls();
        let prompts = calls.iter().flat_map(|(prompts, _)| prompts);
        prompts.map(|p| p.user.clone()).collect()
    }
}

impl TextModel for ScriptedText {
    fn name(&self) -> &str {
        "scripted"
    }

    fn complete(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
        watch: &dyn Watch,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        if watch.stopped() {
            return Err(ModelError::Stopped);
        }
        let call = (prompts.to_vec(), sampling.clone());
        self.calls.lock().unwrap().push(call);
        let answers = self.answers.iter().cycle().take(prompts.len());
        let completions = answers.map(|answer| vec![(*answer).to_owned(); sampling.n]);
        Ok(completions.collect())
    }
}

/// A journal in memory. No step may be done twice.
#[derive(Default)]
pub(crate) struct MemoryJournal {
    pub(crate) steps: Mutex<HashMap<String, Value>>,
    pub(crate) events: Mutex<Vec<(String, Value)>>,
    /// Stops once so many steps are remembered.
    pub(crate) stop_after_steps: Option<usize>,
    /// Stops after this many events of optimizer steps.
    pub(crate) stop_after_train_events: Option<usize>,
    /// Nothing more can be remembered.
    pub(crate) full: bool,
}

impl MemoryJournal {
    /// The events of a kind.
    pub(crate) fn events_of(&self, kind: &str) -> Vec<Value> {
        let events = self.events.lock().unwrap();
        let of_kind = events.iter().filter(|(k, _)| k == kind);
        of_kind.map(|(_, data)| data.clone()).collect()
    }

    /// How many steps are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.steps.lock().unwrap().len()
    }
}

impl Journal for MemoryJournal {
    fn recall(&self, key: &str) -> Result<Option<Value>, Interrupted> {
        Ok(self.steps.lock().unwrap().get(key).cloned())
    }

    fn remember(&self, key: &str, value: &Value) -> Result<(), Interrupted> {
        if self.full {
            return Err(Interrupted::Journal("the disk is full".into()));
        }
        let before = self.steps.lock().unwrap().insert(key.into(), value.clone());
        assert_eq!(before, None, "{key} was done twice");
        Ok(())
    }

    fn progress(&self, _: &str, fraction: f32, _: &str) {
        assert!((0.0..=1.0).contains(&fraction));
    }

    fn event(&self, kind: &str, data: Value) {
        self.events.lock().unwrap().push((kind.into(), data));
    }

    fn check(&self) -> Result<(), Interrupted> {
        let reached = |limit: Option<usize>, count: usize| limit.is_some_and(|n| count >= n);
        match reached(self.stop_after_steps, self.remembered())
            || reached(self.stop_after_train_events, self.events_of("train").len())
        {
            true => Err(Interrupted::Stopped),
            false => Ok(()),
        }
    }
}
