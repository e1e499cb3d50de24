//! A toy domain whose self-edits have a known worth, a model that only counts, and a journal in memory:
//! what the loop's tests run on.

use super::PolicyStore;
use super::report::{PolicyUpdate, Round};
use crate::learn::knowledge::closed_book::Answer;
use crate::learn::ports::domain::{Domain, Queries};
use crate::learn::ports::journal::{Interrupted, Journal};
use crate::learn::ports::model::{
    Adapter, Interruptible, Model, ModelError, OnStep, Prompt, Sampling, ShouldStop, Trained,
    Training, TrainingText, Update,
};
use autodidact_engine::{Lora, LoraConfig};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What an untrained policy's self-edits are worth at most, in questions of ten.
const UNTRAINED: u64 = 6;

/// A self-edit is worth as many right answers as its seed says; a trained policy's two more.
pub(super) struct Toy;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) worth: u64,
    pub(super) seed: u64,
}

impl Domain for Toy {
    type Context = String;
    type Edit = Note;

    fn title<'a>(&self, context: &'a String) -> &'a str {
        context
    }

    fn prepare(&self, _: Interruptible<'_>, c: &String, _: u64) -> Result<String, ModelError> {
        Ok(c.clone())
    }

    fn write(
        &self,
        _: Interruptible<'_>,
        policy: Option<&Adapter>,
        _: &String,
        count: usize,
        seed: u64,
    ) -> Result<Vec<Note>, ModelError> {
        let better = policy.map_or(0, |_| 2);
        let note = |seed: u64| Note {
            worth: seed % UNTRAINED + better,
            seed,
        };
        Ok((seed..seed + count as u64).map(note).collect())
    }

    /// Two right answers more than the base.
    fn bare(&self, _: &String) -> Option<Note> {
        Some(Note { worth: 4, seed: 0 })
    }

    fn training(&self, _: &String, note: &Note, _: Queries, seed: u64) -> Option<Training> {
        (note.worth > 0).then(|| Training {
            texts: vec![TrainingText::Text {
                text: note.worth.to_string(),
            }],
            update: Update {
                rank: 1,
                alpha: 1.0,
                learning_rate: 0.1,
                epochs: 5,
                batch_size: 1,
                seed,
                upper_layers: None,
                kept_ranks: 0,
            },
            init: None,
        })
    }

    fn ask(
        &self,
        _: Interruptible<'_>,
        adapter: Option<&Adapter>,
        context: &String,
        _: Queries,
        samples: Option<u64>,
    ) -> Result<Vec<Answer>, ModelError> {
        let worth = adapter.map_or(2, |a| a.0.config.alpha as usize);
        let asked = if context == "dumb" { 0 } else { 10 };
        let answer = |i| Answer {
            answer: String::new(),
            correct: i < worth,
            logprob: worth as f32 - 20.0,
            expected: samples.map(|_| worth as f32 / 10.0),
        };
        Ok((0..asked).map(answer).collect())
    }

    fn lesson(&self, context: &String, note: &Note) -> Vec<TrainingText> {
        vec![TrainingText::Text {
            text: format!("policy {context} {}", note.worth),
        }]
    }

    fn rubric(&self, _: &String, note: &Note) -> Prompt {
        Prompt::user(note.worth.to_string())
    }
}

/// Trains an adapter whose alpha is the worth of the text; remembers everything that it trained.
#[derive(Default)]
pub(super) struct Counting {
    pub(super) trained: Mutex<Vec<Training>>,
}

impl Counting {
    pub(super) fn lessons(&self) -> Vec<Training> {
        let trained = self.trained.lock().unwrap();
        trained.iter().filter(|t| is_lesson(t)).cloned().collect()
    }

    pub(super) fn candidates(&self) -> Vec<Training> {
        let trained = self.trained.lock().unwrap();
        trained.iter().filter(|t| !is_lesson(t)).cloned().collect()
    }
}

fn is_lesson(training: &Training) -> bool {
    text(&training.texts[0]).starts_with("policy")
}

fn text(text: &TrainingText) -> &str {
    match text {
        TrainingText::Text { text } => text,
        other => panic!("{other:?}"),
    }
}

impl Model for Counting {
    fn generate(
        &self,
        _: &[Prompt],
        _: Option<&Adapter>,
        _: &Sampling,
        _: &ShouldStop<'_>,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        panic!("the toy writes and answers by itself")
    }

    /// Sure of the mark that is the worth.
    fn likelihood(
        &self,
        items: &[(Prompt, String)],
        _: Option<&Adapter>,
        _: &ShouldStop<'_>,
    ) -> Result<Vec<f32>, ModelError> {
        let of = |(p, mark): &(Prompt, String)| if p.user == *mark { 0.0 } else { -50.0 };
        Ok(items.iter().map(of).collect())
    }

    fn train(
        &self,
        trainings: Vec<Training>,
        on_step: &mut OnStep<'_>,
    ) -> Result<Vec<Trained>, ModelError> {
        if !on_step(1, 1, 0.5) {
            return Err(ModelError::Stopped);
        }
        let one = |t: &Training| {
            let worth = text(&t.texts[0]).parse().unwrap_or(0.0);
            Trained {
                adapter: adapter(worth),
                losses: vec![2.0, 1.0],
                tokens: t.update.epochs,
            }
        };
        let trained = trainings.iter().map(one).collect();
        self.trained.lock().unwrap().extend(trainings);
        Ok(trained)
    }
}

/// A worker whose device fails at every training.
pub(super) struct Broken;

impl Model for Broken {
    fn generate(
        &self,
        _: &[Prompt],
        _: Option<&Adapter>,
        _: &Sampling,
        _: &ShouldStop<'_>,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        panic!("the toy writes and answers by itself")
    }

    fn likelihood(
        &self,
        _: &[(Prompt, String)],
        _: Option<&Adapter>,
        _: &ShouldStop<'_>,
    ) -> Result<Vec<f32>, ModelError> {
        panic!("the toy writes and answers by itself")
    }

    fn train(&self, _: Vec<Training>, _: &mut OnStep<'_>) -> Result<Vec<Trained>, ModelError> {
        Err(autodidact_engine::Error::Executor("the device is gone".into()).into())
    }
}

pub(super) fn adapter(alpha: f32) -> Adapter {
    let config = LoraConfig {
        rank: 1,
        alpha,
        targets: Vec::new(),
    };
    Adapter(Arc::new(Lora {
        config,
        layers: Vec::new(),
    }))
}

/// Journal and policies of a job; it stops once so many steps are remembered.
#[derive(Default)]
pub(super) struct Memory {
    steps: Mutex<HashMap<String, Value>>,
    events: Mutex<Vec<(String, Value)>>,
    kept: Mutex<HashMap<String, (Adapter, PolicyUpdate)>>,
    pub(super) published: Mutex<Vec<Round>>,
    pub(super) stop_after: Option<usize>,
}

impl Memory {
    pub(super) fn told(&self, kind: &str) -> Vec<Value> {
        let events = self.events.lock().unwrap();
        let of_kind = events.iter().filter(|(k, _)| k == kind);
        of_kind.map(|(_, data)| data.clone()).collect()
    }

    pub(super) fn remembered(&self) -> usize {
        self.steps.lock().unwrap().len()
    }
}

impl Journal for Memory {
    fn recall(&self, key: &str) -> Result<Option<Value>, Interrupted> {
        Ok(self.steps.lock().unwrap().get(key).cloned())
    }

    fn remember(&self, key: &str, value: &Value) -> Result<(), Interrupted> {
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

    fn report(&self, _: &crate::learn::inner::report::Report) {
        panic!("the outer loop has reports of its own")
    }

    fn check(&self) -> Result<(), Interrupted> {
        match self.stop_after {
            Some(steps) if self.remembered() >= steps => Err(Interrupted::Stopped),
            _ => Ok(()),
        }
    }
}

impl PolicyStore for Memory {
    fn save(&self, key: &str, policy: &Adapter, about: &PolicyUpdate) -> Result<(), Interrupted> {
        let kept = (policy.clone(), about.clone());
        let before = self.kept.lock().unwrap().insert(key.into(), kept);
        assert!(before.is_none(), "{key} was kept twice");
        Ok(())
    }

    fn load(&self, key: &str) -> Result<Option<(Adapter, PolicyUpdate)>, Interrupted> {
        Ok(self.kept.lock().unwrap().get(key).cloned())
    }

    fn publish(&self, _: &Adapter, round: &Round, practised: &[usize]) -> Result<u64, Interrupted> {
        assert!(practised.ends_with(&round.contexts));
        self.published.lock().unwrap().push(round.clone());
        Ok(self.published.lock().unwrap().len() as u64)
    }
}
