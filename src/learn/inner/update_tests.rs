//! The update's control flow, with a model that answers by script and a journal in memory. Nothing
//! here knows how a prompt is worded, except that it contains its question.

use super::input::{Live, OnReport, UpdateInput};
use super::replay::{Earlier, Probe};
use super::report::{Origin, Report};
use super::responders::{Responder, Responders};
use super::update::{UpdateOutcome, learn};
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::gate::GateMode;
use crate::learn::options::self_edit::SelfEditKind;
use crate::learn::options::strategy::Strategy;
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::journal::Interrupted;
use crate::learn::ports::model::{Adapter, Prompt, Trained, TrainingText, Update};
use crate::learn::ports::text_model::Helpers;
use crate::learn::scripted::{MemoryJournal, ScriptedModel, number_of, numbered_adapter};
use autodidact_engine::{Lora, LoraPair};
use serde_json::json;
use std::sync::{Arc, Mutex};

const STEPS: usize = 4;

/// What a model knows: before any training the questions `at_first`, after its nth those of the nth list.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) at_first: Vec<&'static str>,
    pub(crate) after: Vec<Vec<&'static str>>,
    /// Its trained adapters have a matrix, and one that went half the way keeps everything.
    pub(crate) half_is_gentle: bool,
    /// Without an adapter it knows whatever it is asked.
    pub(crate) base_is_general: bool,
}

impl Script {
    pub(crate) fn knowing(at_first: &[&'static str], after: &[&[&'static str]]) -> Self {
        Script {
            at_first: at_first.to_vec(),
            after: after.iter().map(|known| known.to_vec()).collect(),
            ..Default::default()
        }
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

    fn says(&self, adapter: Option<&Adapter>, prompt: &Prompt) -> String {
        match self.knows(adapter, prompt) {
            true if self.base_is_general && adapter.is_none() => {
                let all = super::general::all().iter();
                all.map(|q| format!("{}, ", q.answer)).collect()
            }
            true => "gold".to_owned(),
            false => "dross".to_owned(),
        }
    }

    pub(crate) fn model(self) -> ScriptedModel {
        let script = Arc::new(self);
        let (saying, finding) = (script.clone(), script.clone());
        ScriptedModel::default()
            .with_steps(STEPS)
            .answering(move |prompt, adapter| saying.says(adapter, prompt))
            .finding(
                move |prompt, _, adapter| match finding.knows(adapter, prompt) {
                    true => -0.1,
                    false => -5.0,
                },
            )
            .training(move |_, nth| {
                let adapter = match script.half_is_gentle {
                    true => with_matrix(nth, 1.0),
                    false => numbered_adapter(nth),
                };
                Ok(Trained {
                    adapter,
                    losses: vec![1.0; STEPS],
                    tokens: 7,
                })
            })
    }
}

/// A model that knows `at_first`, and after its nth training the nth list.
pub(crate) fn knowing(at_first: &[&'static str], after: &[&[&'static str]]) -> ScriptedModel {
    Script::knowing(at_first, after).model()
}

/// A numbered adapter with a single B.
pub(crate) fn with_matrix(number: usize, b: f32) -> Adapter {
    let mut lora = Lora::clone(&numbered_adapter(number).0);
    let mut layer = [const { None }; 7];
    layer[0] = Some(LoraPair {
        a: vec![1.0],
        b: vec![b],
    });
    lora.layers.push(layer);
    Adapter(Arc::new(lora))
}

pub(crate) fn updates(model: &ScriptedModel) -> Vec<Update> {
    model.trainings().into_iter().map(|t| t.update).collect()
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
    Ok(numbered_adapter(0))
}

/// Learns a document with the questions Q1 to Q4, after an earlier one with E1 to E4.
pub(crate) fn run(
    model: &ScriptedModel,
    journal: &MemoryJournal,
    change: impl FnOnce(&mut IngestOptions),
) -> Result<UpdateOutcome, Interrupted> {
    run_from(&numbered_adapter(0), model, journal, &|_| {}, change)
}

/// The same from this live adapter; `on_report` hears the reports.
pub(crate) fn run_from(
    live: &Adapter,
    model: &ScriptedModel,
    journal: &MemoryJournal,
    on_report: &OnReport<'_>,
    change: impl FnOnce(&mut IngestOptions),
) -> Result<UpdateOutcome, Interrupted> {
    let passage = |title: &str| Passage {
        title: title.into(),
        text: format!("All that is known of {title}."),
    };
    let mut options = IngestOptions::default();
    options.self_edit.kind = SelfEditKind::None;
    options.training.learning_rate = 0.01;
    options.training.epochs = Some(10);
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
    };
    let start = UpdateInput {
        cut: &crate::learn::inner::input::uncut,
        passage: &passage("the new"),
        given: &["Q1?", "Q2?", "Q3?", "Q4?"].map(question),
        live: Some(Live {
            version: 5,
            adapter: live,
        }),
        earlier: &[earlier],
        replaces: None,
        responders: &Responders::one(Responder::Version(5), 1),
        load: &load,
        options: &options,
        policy: None,
        helpers: Helpers::none(),
        on_report,
    };
    learn(model, &start, journal)
}

pub(crate) const OLD: [&str; 4] = ["E1?", "E2?", "E3?", "E4?"];
pub(crate) const ALL: [&str; 8] = ["E1?", "E2?", "E3?", "E4?", "Q1?", "Q2?", "Q3?", "Q4?"];
pub(crate) const NEW: [&str; 4] = ["Q1?", "Q2?", "Q3?", "Q4?"];

#[test]
fn what_is_learned_without_loss_is_accepted_at_once() {
    let model = knowing(&OLD, &[&["E1?", "E2?", "E3?", "Q1?", "Q2?"]]);
    let journal = MemoryJournal::default();
    let reports = Mutex::new(Vec::new());
    let on_report = |report: &Report| reports.lock().unwrap().push(report.clone());
    let live = numbered_adapter(0);
    let outcome = run_from(&live, &model, &journal, &on_report, |_| {}).unwrap();
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

    // One adapter a call. It continued the live adapter, with as much of the old as there is of the new.
    assert!(model.training_calls().iter().all(|call| call.len() == 1));
    let trainings = model.trainings();
    assert_eq!(trainings[0].init.as_ref().map(number_of), Some(0));
    let new = report.training_sequences.len();
    assert_eq!(report.replayed_sequences, new);
    assert_eq!(trainings[0].texts.len(), 2 * new);

    let whens: Vec<_> = journal
        .events_of("score")
        .iter()
        .map(|s| s["when"].clone())
        .collect();
    assert_eq!(whens, ["before", "after"]);
    assert_eq!(journal.events_of("train").len(), STEPS);
    assert_eq!(reports.lock().unwrap().last(), Some(&report));
}

#[test]
fn the_weak_trains_longer_until_it_is_refused() {
    let model = knowing(&OLD, &[&OLD, &OLD, &OLD]);
    let outcome = run(&model, &MemoryJournal::default(), |_| {}).unwrap();
    assert!(outcome.adapter.is_none());
    let updates = updates(&model);
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
    let model = knowing(&OLD, &[&[]]);
    let outcome = run(&model, &MemoryJournal::default(), |o| {
        o.gate.mode = GateMode::Off
    })
    .unwrap();
    assert_eq!(outcome.adapter.as_ref().map(number_of), Some(1));
    assert_eq!(outcome.report.retention.map(|r| r.after), Some(0.0));
}

#[test]
fn finished_steps_are_recalled_in_the_next_life() {
    let model = knowing(&OLD, &[&ALL, &ALL]);
    let mut journal = MemoryJournal {
        stop_after_train_events: Some(2),
        ..Default::default()
    };
    let edit = |o: &mut IngestOptions| o.self_edit.kind = SelfEditKind::Rewrite;
    assert!(matches!(
        run(&model, &journal, edit),
        Err(Interrupted::Stopped)
    ));
    assert_eq!(
        journal.events_of("train").len(),
        2,
        "it stops at the step that was told so"
    );
    let first_life = model.calls();
    assert_eq!(first_life.last(), Some(&"train"));
    let notes = journal.events_of("self_edit");
    assert_eq!(notes.len(), 1);

    journal.stop_after_train_events = None;
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
    let model = knowing(&[], &[]);
    let journal = MemoryJournal {
        stop_after_train_events: Some(0),
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
    let model = knowing(&[], &[]);
    let journal = MemoryJournal {
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
    let model = knowing(&OLD, &[&ALL]);
    let journal = MemoryJournal::default();
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
    let model = knowing(&[], &[]);
    let options = IngestOptions::default();
    let start = UpdateInput {
        cut: &crate::learn::inner::input::uncut,
        passage: &Passage {
            title: "Nothing".into(),
            text: "There is nothing to say.".into(),
        },
        given: &[],
        live: None,
        earlier: &[],
        replaces: None,
        responders: &Responders::one(Responder::Base, 0),
        load: &load,
        options: &options,
        policy: None,
        helpers: Helpers::none(),
        on_report: &|_| {},
    };
    // What it writes as questions is no question.
    let outcome = learn(&model, &start, &MemoryJournal::default()).unwrap();
    assert!(outcome.adapter.is_none());
    assert!(!model.calls().contains(&"train"));
    let reason = outcome.report.decision.unwrap().reason;
    assert!(reason.contains("nothing can be proven"), "{reason}");
}
