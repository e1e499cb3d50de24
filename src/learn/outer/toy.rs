//! A toy domain whose self-edits have a known worth, a model that only counts, and policies in memory:
//! what the loop's tests run on.

use super::PolicyStore;
use super::report::{PolicyUpdate, Round};
use crate::learn::knowledge::closed_book::Answer;
use crate::learn::knowledge::sequences::CountTokens;
use crate::learn::outer::domain::{Domain, Queries};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::Interrupted;
use crate::learn::ports::model::{
    Adapter, ModelError, Prompt, Trained, Training, TrainingText, Update,
};
use crate::learn::scripted::{MemoryJournal, ScriptedModel, number_of, numbered_adapter};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Mutex;

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

    fn training(
        &self,
        _: &String,
        note: &Note,
        _: Queries,
        seed: u64,
        _: &CountTokens<'_>,
    ) -> Option<Training> {
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
                early_stop: None,
                lora_plus: 1.0,
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
        let worth = adapter.map_or(2, number_of);
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

/// Trains an adapter whose number is the worth of the text; sure of the mark that is the worth.
pub(super) fn counting() -> ScriptedModel {
    ScriptedModel::default()
        .finding(|prompt, mark, _| if prompt.user == mark { 0.0 } else { -50.0 })
        .training(|training, _| {
            Ok(Trained {
                adapter: numbered_adapter(text(&training.texts[0]).parse().unwrap_or(0)),
                losses: vec![2.0, 1.0],
                tokens: training.update.epochs,
            })
        })
}

/// A worker whose device fails at every training.
pub(super) fn broken() -> ScriptedModel {
    ScriptedModel::default().training(|_, _| {
        Err(autodidact_engine::Error::Executor("the device is gone".into()).into())
    })
}

/// The trainings of the policy.
pub(super) fn lessons(model: &ScriptedModel) -> Vec<Training> {
    let mut trainings = model.trainings();
    trainings.retain(is_lesson);
    trainings
}

/// The trainings of candidates.
pub(super) fn candidates(model: &ScriptedModel) -> Vec<Training> {
    let mut trainings = model.trainings();
    trainings.retain(|t| !is_lesson(t));
    trainings
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

/// The journal of a job, and its policies.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) journal: MemoryJournal,
    kept: Mutex<HashMap<String, (Adapter, PolicyUpdate)>>,
    pub(super) published: Mutex<Vec<Round>>,
}

impl Memory {
    pub(super) fn events_of(&self, kind: &str) -> Vec<Value> {
        self.journal.events_of(kind)
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
