//! The update's control flow, with a model that answers by script and a journal in memory. Nothing
//! here knows how a prompt is worded, except that it contains its question.

use super::replay::{Earlier, Probe};
use super::report::{Origin, Report};
use super::update::{Live, UpdateInput, UpdateOutcome, learn};
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::strategy::Strategy;
use crate::learn::options::update::{GateMode, IngestOptions, SelfEditKind};
use crate::learn::ports::journal::{Interrupted, Journal};
use crate::learn::ports::model::{
    Adapter, Model, ModelError, OnStep, Prompt, Sampling, ShouldStop, Trained, Training,
    TrainingText, Update,
};
use crate::learn::ports::text_model::Helpers;
use autodidact_engine::{Lora, LoraConfig, LoraPair};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const STEPS: usize = 4;

/// After its nth training it knows the questions of the nth script; before any it knows `at_first`.
#[derive(Default)]
pub(crate) struct Scripted {
    pub(crate) at_first: Vec<&'static str>,
    pub(crate) after: Vec<Vec<&'static str>>,
    /// Its trained adapters have a matrix, and one that went half the way keeps everything.
    pub(crate) half_is_gentle: bool,
    /// Without an adapter it knows whatever it is asked.
    pub(crate) base_is_general: bool,
    pub(crate) calls: Mutex<Vec<&'static str>>,
    pub(crate) trainings: Mutex<Vec<Training>>,
}

impl Scripted {
    pub(crate) fn knowing(at_first: &[&'static str], after: &[&[&'static str]]) -> Self {
        Scripted {
            at_first: at_first.to_vec(),
            after: after.iter().map(|known| known.to_vec()).collect(),
            ..Default::default()
        }
    }

    fn called(&self, what: &'static str) {
        self.calls.lock().unwrap().push(what);
    }

    fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn updates(&self) -> Vec<Update> {
        let trainings = self.trainings.lock().unwrap();
        trainings.iter().map(|t| t.update.clone()).collect()
    }

    fn knows(&self, adapter: Option<&Adapter>, prompt: &Prompt) -> bool {
        if self.base_is_general && adapter.is_none() {
            return true;
        }
        let b = |a: &Adapter| Some(a.0.layers.first()?[0].as_ref()?.b[0]);
        if self.half_is_gentle && adapter.and_then(b) == Some(0.5) {
            return ALL.iter().any(|question| prompt.user.contains(question));
        }
        let known = match adapter.map(number_of) {
            None | Some(0) => &self.at_first,
            Some(nth) => &self.after[nth - 1],
        };
        known.iter().any(|question| prompt.user.contains(question))
    }
}

/// An empty adapter that carries a number, as its alpha.
pub(crate) fn adapter(number: usize) -> Adapter {
    let config = LoraConfig {
        rank: 1,
        alpha: number as f32,
        targets: Vec::new(),
    };
    Adapter(Arc::new(Lora {
        config,
        layers: Vec::new(),
    }))
}

/// One with a single B.
fn with_matrix(number: usize, b: f32) -> Adapter {
    let mut lora = Lora::clone(&adapter(number).0);
    let mut layer = [const { None }; 7];
    layer[0] = Some(LoraPair {
        a: vec![1.0],
        b: vec![b],
    });
    lora.layers.push(layer);
    Adapter(Arc::new(lora))
}

pub(crate) fn number_of(adapter: &Adapter) -> usize {
    adapter.0.config.alpha as usize
}

impl Model for Scripted {
    fn generate(
        &self,
        prompts: &[Prompt],
        adapter: Option<&Adapter>,
        sampling: &Sampling,
        _: &ShouldStop<'_>,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        self.called("generate");
        let says = |prompt| match self.knows(adapter, prompt) {
            true if self.base_is_general && adapter.is_none() => {
                let all = super::general::all().iter();
                all.map(|q| format!("{}, ", q.answer)).collect()
            }
            true => "gold".to_owned(),
            false => "dross".to_owned(),
        };
        let texts = prompts.iter().map(|p| vec![says(p); sampling.n]);
        Ok(texts.collect())
    }

    fn likelihood(
        &self,
        items: &[(Prompt, String)],
        adapter: Option<&Adapter>,
        _: &ShouldStop<'_>,
    ) -> Result<Vec<f32>, ModelError> {
        self.called("likelihood");
        let known = items.iter().map(|(p, _)| self.knows(adapter, p));
        Ok(known.map(|known| if known { -0.1 } else { -5.0 }).collect())
    }

    fn train(
        &self,
        trainings: Vec<Training>,
        on_step: &mut OnStep<'_>,
    ) -> Result<Vec<Trained>, ModelError> {
        self.called("train");
        assert_eq!(trainings.len(), 1);
        self.trainings.lock().unwrap().extend(trainings);
        let number = self.trainings.lock().unwrap().len();
        for step in 1..=STEPS {
            if !on_step(step, STEPS, 1.0 / step as f32) {
                return Err(ModelError::Stopped);
            }
        }
        let adapter = match self.half_is_gentle {
            true => with_matrix(number, 1.0),
            false => adapter(number),
        };
        Ok(vec![Trained {
            adapter,
            losses: vec![1.0; STEPS],
            tokens: 7,
        }])
    }
}

#[derive(Default)]
pub(crate) struct Memory {
    steps: Mutex<HashMap<String, Value>>,
    events: Mutex<Vec<(String, Value)>>,
    reports: Mutex<Vec<Report>>,
    /// Stop once this many training steps were told.
    stop_after: Option<usize>,
    full: bool,
}

impl Memory {
    fn told(&self, kind: &str) -> Vec<Value> {
        let events = self.events.lock().unwrap();
        let of_kind = events.iter().filter(|(k, _)| k == kind);
        of_kind.map(|(_, data)| data.clone()).collect()
    }
}

impl Journal for Memory {
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

    fn report(&self, report: &Report) {
        self.reports.lock().unwrap().push(report.clone());
    }

    fn check(&self) -> Result<(), Interrupted> {
        match self.stop_after {
            Some(steps) if self.told("train").len() >= steps => Err(Interrupted::Stopped),
            _ => Ok(()),
        }
    }
}

pub(crate) fn question(text: &str) -> Question {
    Question {
        question: text.into(),
        answer: "gold".into(),
    }
}

pub(crate) fn probe(text: &str) -> Probe {
    Probe {
        id: format!("probe_{text}"),
        question: question(text),
    }
}

/// The adapter that knew the old: every version's.
pub(crate) fn load(_: u64) -> Result<Adapter, Interrupted> {
    Ok(adapter(0))
}

/// Learns a document with the questions Q1 to Q4, after an earlier one with E1 to E4.
pub(crate) fn run(
    model: &Scripted,
    journal: &Memory,
    change: impl FnOnce(&mut IngestOptions),
) -> Result<UpdateOutcome, Interrupted> {
    let passage = |title: &str| Passage {
        title: title.into(),
        text: format!("All that is known of {title}."),
    };
    let mut options = IngestOptions::default();
    options.self_edit.kind = SelfEditKind::None;
    options.training.learning_rate = 0.01;
    options.training.epochs = 10;
    options.training.strategy = Strategy::Replay;
    options.training.replay = 1.0;
    options.gate.min_gain = 0.5;
    options.gate.retention_budget = 0.25;
    options.gate.attempts = 3;
    options.gate.general_probes = 0;
    change(&mut options);
    let texts = (0..50).map(|i| TrainingText::Text {
        text: format!("Fact {i} of old."),
    });
    let earlier = Earlier {
        passage: passage("the old"),
        texts: texts.collect(),
        probes: ["E1?", "E2?", "E3?", "E4?"].map(probe).to_vec(),
        version: 5,
    };
    let start = UpdateInput {
        passage: &passage("the new"),
        given: &["Q1?", "Q2?", "Q3?", "Q4?"].map(question),
        live: Some(Live {
            version: 5,
            adapter: &match model.half_is_gentle {
                true => with_matrix(0, 0.0),
                false => adapter(0),
            },
            routed: None,
        }),
        earlier: &[earlier],
        load: &load,
        options: &options,
        policy: None,
        helpers: Helpers::none(),
    };
    learn(model, &start, journal)
}

pub(crate) const OLD: [&str; 4] = ["E1?", "E2?", "E3?", "E4?"];
pub(crate) const ALL: [&str; 8] = ["E1?", "E2?", "E3?", "E4?", "Q1?", "Q2?", "Q3?", "Q4?"];
pub(crate) const NEW: [&str; 4] = ["Q1?", "Q2?", "Q3?", "Q4?"];

#[test]
fn what_is_learned_without_loss_is_accepted_at_once() {
    let model = Scripted::knowing(&OLD, &[&["E1?", "E2?", "E3?", "Q1?", "Q2?"]]);
    let journal = Memory::default();
    let outcome = run(&model, &journal, |_| {}).unwrap();
    assert_eq!(outcome.adapter.as_ref().map(number_of), Some(1));
    let report = outcome.report;
    assert_eq!(
        (report.score_before, report.score_after),
        (Some(0.0), Some(0.5))
    );
    let retention = report.retention.unwrap();
    assert_eq!(
        (retention.probes, retention.before, retention.after),
        (4, 1.0, 0.75)
    );
    assert_eq!(report.attempts.len(), 1);
    assert!(report.attempts[0].accepted);
    assert_eq!(report.attempts[0].losses.len(), STEPS);
    let first = &report.probes[0];
    assert_eq!(first.origin, Origin::Given);
    assert_eq!(first.before.as_ref().map(|a| a.correct), Some(false));
    assert_eq!(first.after.as_ref().map(|a| a.correct), Some(true));
    let decision = report.decision.clone().unwrap();
    assert!(decision.accepted && decision.version.is_none());
    assert_eq!(decision.reason, "0 of 4 probes right before, 2 after");

    // It continued the live adapter, with as much of the old as there is of the new.
    let trainings = model.trainings.lock().unwrap();
    assert_eq!(trainings[0].init.as_ref().map(number_of), Some(0));
    let new = report.training_sequences.len();
    assert_eq!(report.replayed_sequences, new);
    assert_eq!(trainings[0].texts.len(), 2 * new);

    let whens: Vec<_> = journal
        .told("score")
        .iter()
        .map(|s| s["when"].clone())
        .collect();
    assert_eq!(whens, ["before", "after"]);
    assert_eq!(journal.told("train").len(), STEPS);
    assert_eq!(journal.reports.lock().unwrap().last(), Some(&report));
}

#[test]
fn the_weak_trains_longer_until_it_is_refused() {
    let model = Scripted::knowing(&OLD, &[&OLD, &OLD, &OLD]);
    let outcome = run(&model, &Memory::default(), |_| {}).unwrap();
    assert!(outcome.adapter.is_none());
    let updates = model.updates();
    assert_eq!(
        updates.iter().map(|u| u.epochs).collect::<Vec<_>>(),
        [10, 15, 23]
    );
    assert!(updates.iter().all(|u| u.learning_rate == 0.01));
    let decision = outcome.report.decision.unwrap();
    assert!(!decision.accepted);
    assert!(
        decision.reason.contains("3 attempts"),
        "{}",
        decision.reason
    );
    assert!(
        decision
            .reason
            .contains("0 of 4 probes right before, 0 after")
    );
    assert_eq!(outcome.report.attempts.len(), 3);
}

#[test]
fn without_a_gate_anything_is_accepted() {
    let model = Scripted::knowing(&OLD, &[&[]]);
    let outcome = run(&model, &Memory::default(), |o| o.gate.mode = GateMode::Off).unwrap();
    assert_eq!(outcome.adapter.as_ref().map(number_of), Some(1));
    assert_eq!(outcome.report.retention.map(|r| r.after), Some(0.0));
}

#[test]
fn finished_steps_are_recalled_in_the_next_life() {
    let model = Scripted::knowing(&OLD, &[&ALL, &ALL]);
    let mut journal = Memory {
        stop_after: Some(2),
        ..Default::default()
    };
    let edit = |o: &mut IngestOptions| o.self_edit.kind = SelfEditKind::Rewrite;
    assert!(matches!(
        run(&model, &journal, edit),
        Err(Interrupted::Stopped)
    ));
    assert_eq!(
        journal.told("train").len(),
        2,
        "it stops at the step that was told so"
    );
    let first_life = model.calls();
    assert_eq!(first_life.last(), Some(&"train"));
    let notes = journal.told("self_edit");
    assert_eq!(notes.len(), 1);

    journal.stop_after = None;
    let outcome = run(&model, &journal, edit).unwrap();
    assert!(outcome.adapter.is_some());
    assert_eq!(
        model.calls()[first_life.len()],
        "train",
        "nothing is asked before it"
    );
    assert_eq!(json!(outcome.report.self_edits[0].text), notes[0]["text"]);
    assert_eq!(outcome.report.score_before, Some(0.0));
    assert!(outcome.report.probes.iter().all(|p| p.before.is_some()));
}

#[test]
fn a_wish_to_stop_is_heard_before_anything_is_asked() {
    let model = Scripted::default();
    let journal = Memory {
        stop_after: Some(0),
        ..Default::default()
    };
    assert!(matches!(
        run(&model, &journal, |_| {}),
        Err(Interrupted::Stopped)
    ));
    assert!(model.calls().is_empty());
}

#[test]
fn a_journal_that_cannot_remember_stops_the_update() {
    let model = Scripted::default();
    let journal = Memory {
        full: true,
        ..Default::default()
    };
    let stop = run(&model, &journal, |_| {}).map(|_| ()).unwrap_err();
    assert!(
        matches!(&stop, Interrupted::Journal(why) if why.contains("full")),
        "{stop}"
    );
    assert!(!model.calls().contains(&"train"));
}

#[test]
fn a_memory_of_another_shape_is_an_error_not_a_guess() {
    let model = Scripted::knowing(&OLD, &[&ALL]);
    let journal = Memory::default();
    run(&model, &journal, |_| {}).unwrap();
    for value in journal.steps.lock().unwrap().values_mut() {
        *value = json!("nonsense");
    }
    let stop = run(&model, &journal, |_| {}).map(|_| ()).unwrap_err();
    assert!(
        matches!(&stop, Interrupted::Journal(why) if why.contains("read back")),
        "{stop}"
    );
}

#[test]
fn a_document_that_nothing_can_be_asked_about_is_not_trained() {
    let model = Scripted::default();
    let options = IngestOptions::default();
    let start = UpdateInput {
        passage: &Passage {
            title: "Nothing".into(),
            text: "There is nothing to say.".into(),
        },
        given: &[],
        live: None,
        earlier: &[],
        load: &load,
        options: &options,
        policy: None,
        helpers: Helpers::none(),
    };
    // What it writes as questions is no question.
    let outcome = learn(&model, &start, &Memory::default()).unwrap();
    assert!(outcome.adapter.is_none());
    assert!(!model.calls().contains(&"train"));
    let reason = outcome.report.decision.unwrap().reason;
    assert!(reason.contains("nothing can be proven"), "{reason}");
}
