//! The paper's continual run (SEAL §5): one alias learns documents one after another, and after each document the
//! questions of all documents so far are asked. `autodidact reproduce continual` does one run for each strategy,
//! sequence and seed.
//!
//! An update is [`learn`], exactly as on a server, but the versions are in memory. The questions are held out: no
//! update trains on them. The gate is off by default here, so that all strategies have equal compute; an update then
//! asks no questions about earlier documents. The questions of the matrix are asked between updates and are not timed.

use crate::learn::inner::answerer::{Answerer, Item, Routed};
use crate::learn::inner::general;
use crate::learn::inner::input::{Live, UpdateInput, uncut};
use crate::learn::inner::replay::{self, Earlier, Probe};
use crate::learn::inner::report::Report;
use crate::learn::inner::responders::{Responder, Responders};
use crate::learn::inner::update::learn;
use crate::learn::knowledge::closed_book::{ANSWER_TOKENS, ask};
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::gate::GateMode;
use crate::learn::options::strategy::Strategy;
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::{Interrupted, Journal};
use crate::learn::ports::model::{Adapter, Model};
use crate::learn::ports::text_model::Helpers;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// The results of one run. Row 0 is the base, row i the state after the ith document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// `answers[i][j]`: for each question of document j, whether it was answered right after document i. Row 0 covers
    /// all documents, row i the documents up to i.
    pub answers: Vec<Vec<Vec<bool>>>,
    /// General probes answered right in each row.
    pub general: Vec<usize>,
    pub general_asked: usize,
    pub updates: Vec<Cost>,
}

/// The cost of one update.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub seconds: f32,
    /// Tokens trained on, over all epochs and attempts.
    pub tokens: usize,
    /// Bytes of the adapters that answer for the alias after the update, stored as 32-bit floats.
    pub adapter_bytes: usize,
    pub accepted: bool,
}

/// Work that all runs of one model share, whatever their strategy, and that is done once.
#[derive(Default)]
pub struct Shared {
    /// The study notes of each document and seed, with the seconds of writing them.
    notes: Mutex<HashMap<String, (Value, f32)>>,
    /// The base's answers, by the grader and the questions.
    base: Mutex<HashMap<String, BaseAnswers>>,
}

/// A row of the matrix, and the general probes that were answered right in it.
type BaseAnswers = (Vec<Vec<bool>>, usize);

impl Shared {
    fn base(
        &self,
        asked: String,
        ask: impl FnOnce() -> Result<BaseAnswers, Interrupted>,
    ) -> Result<BaseAnswers, Interrupted> {
        let known = self.rows().get(&asked).cloned();
        if let Some(row) = known {
            return Ok(row);
        }
        let row = ask()?;
        self.rows().insert(asked, row.clone());
        Ok(row)
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<String, BaseAnswers>> {
        self.base.lock().expect("nobody panics with it")
    }
}

/// Learns `documents` in their order with `options`, which include the strategy and the seed. `tell` is called after
/// every update.
pub fn run(
    model: &dyn Model,
    documents: &[(Passage, Vec<Question>)],
    options: &IngestOptions,
    general_probes: usize,
    shared: &Shared,
    tell: &mut dyn FnMut(usize, &Cost),
) -> Result<Run, Interrupted> {
    let mut alias = Alias {
        model,
        options,
        versions: Vec::new(),
        earlier: Vec::new(),
        responders: match options.training.strategy {
            Strategy::Route => Responders::by_document(Vec::new(), Responder::Base),
            _ => Responders::one(Responder::Base, 0),
        },
        known: BTreeMap::new(),
    };
    let items: Vec<Vec<Item>> = documents.iter().map(|(p, q)| questions(p, q)).collect();
    let general: Vec<Item> = general::some(general_probes, options.seed)
        .iter()
        .map(general::item)
        .collect();
    let asked = format!("{:?} {items:?} {general:?}", options.gate.grader);
    let (answers, generally) = shared.base(asked, || {
        Ok((alias.ask(&items)?, alias.ask_general(&general)?))
    })?;
    let mut run = Run {
        answers: vec![answers],
        general: vec![generally],
        general_asked: general.len(),
        updates: Vec::new(),
    };
    for (nth, (passage, questions)) in documents.iter().enumerate() {
        let cost = alias.learn(passage, questions, shared)?;
        tell(nth, &cost);
        run.updates.push(cost);
        run.answers.push(alias.ask(&items[..=nth])?);
        run.general.push(alias.ask_general(&general)?);
    }
    Ok(run)
}

/// An alias in memory.
struct Alias<'a> {
    model: &'a dyn Model,
    options: &'a IngestOptions,
    /// Version n is at index n - 1. A version that no document needs any more is `None`.
    versions: Vec<Option<Adapter>>,
    earlier: Vec<Earlier>,
    responders: Responders,
    /// Whether a responder answers a prompt with the gold answer right: (responder, prompt, gold answer). Greedy
    /// answers do not change, so each is asked once.
    known: BTreeMap<(Responder, String, String), bool>,
}

impl Alias<'_> {
    fn learn(
        &mut self,
        passage: &Passage,
        questions: &[Question],
        shared: &Shared,
    ) -> Result<Cost, Interrupted> {
        let clock = Instant::now();
        let routes = self.options.training.strategy == Strategy::Route;
        let number = self.versions.len() as u64;
        let live = self.versions.last().and_then(Option::as_ref);
        let journal = NotesOnly {
            shared,
            key: format!("{} {}", self.options.seed, passage.text),
            written: Mutex::default(),
        };
        let load = |version: u64| Ok(self.load(version));
        let start = UpdateInput {
            cut: &uncut,
            passage,
            given: questions,
            live: live.map(|adapter| Live {
                version: number,
                adapter,
            }),
            earlier: &self.earlier,
            replaces: None,
            responders: &self.responders,
            load: &load,
            options: self.options,
            policy: None,
            helpers: Helpers::none(),
            on_report: &|_| {},
        };
        let outcome = learn(self.model, &start, &journal)?;
        let report = outcome.report;
        // Notes recalled from another run of the same seed count with the time that writing them took.
        let seconds = clock.elapsed().as_secs_f32() + journal.saved(&report);
        let accepted = outcome.adapter.is_some();
        if let Some(adapter) = outcome.adapter {
            self.publish(passage, questions, adapter, &report, routes);
        }
        let adapters = self.versions.iter().flatten();
        Ok(Cost {
            seconds,
            tokens: report.attempts.iter().map(|a| a.tokens).sum(),
            adapter_bytes: adapters.map(|a| 4 * a.0.parameters()).sum(),
            accepted,
        })
    }

    fn publish(
        &mut self,
        passage: &Passage,
        questions: &[Question],
        adapter: Adapter,
        report: &Report,
        routes: bool,
    ) {
        self.versions.push(Some(adapter));
        let version = self.versions.len() as u64;
        let responders = self.responders.after_update(routes, report.continued);
        self.responders = responders.published(version);
        // Without a gate an update asks no probes.
        let probes = match self.options.gate.mode {
            GateMode::Probes => questions,
            GateMode::Off => &[],
        };
        self.earlier.push(Earlier {
            passage: passage.clone(),
            texts: report.training_sequences.clone(),
            probes: probes
                .iter()
                .map(|q| Probe {
                    id: String::new(),
                    question: q.clone(),
                })
                .collect(),
        });
        let answering = self.responders.versions();
        for (number, adapter) in (1..).zip(&mut self.versions) {
            if !answering.contains(&number) {
                *adapter = None;
            }
        }
    }

    fn load(&self, version: u64) -> Adapter {
        let adapter = self.versions[version as usize - 1].clone();
        adapter.expect("a version that answers for a document is kept")
    }

    /// For each document, whether each of its questions is answered right.
    fn ask(&mut self, items: &[Vec<Item>]) -> Result<Vec<Vec<bool>>, Interrupted> {
        let all: Vec<Item> = items.iter().flatten().cloned().collect();
        let mut rights = self
            .answer(&all, self.options.gate.grader, ANSWER_TOKENS)?
            .into_iter();
        let of_document = |items: &Vec<Item>| rights.by_ref().take(items.len()).collect();
        Ok(items.iter().map(of_document).collect())
    }

    fn ask_general(&mut self, items: &[Item]) -> Result<usize, Interrupted> {
        let rights = self.answer(items, general::GRADER, general::ANSWER_TOKENS)?;
        Ok(rights.into_iter().filter(|right| *right).count())
    }

    /// Whether each question is answered right by the adapter that would answer a client now.
    fn answer(
        &mut self,
        items: &[Item],
        grader: crate::learn::grading::grader::Grader,
        longest: usize,
    ) -> Result<Vec<bool>, Interrupted> {
        let load = |version: u64| Ok(self.load(version));
        let model = Interruptible::new(self.model, &|| false);
        if !self.responders.is_routed() {
            let answerer = Answerer::One(self.versions.last().and_then(Option::as_ref));
            return answerer.right(model, items, grader.into(), longest);
        }
        let documents = self.earlier.iter();
        let routed = Routed {
            router: replay::router(documents.map(|e| (&e.passage, e.texts.as_slice()))),
            responders: self.responders.clone(),
            new: None,
            load: &load,
        };
        let key = |i: &Item| {
            let choice = routed.choose(&i.question);
            (choice, i.prompt.user.clone(), i.gold.clone())
        };
        let keys: Vec<_> = items.iter().map(key).collect();
        let unknown = keys.iter().zip(items);
        let unknown = unknown.filter(|(key, _)| !self.known.contains_key(key));
        let (new, asked): (Vec<_>, Vec<_>) = unknown.map(|(k, i)| (k.clone(), i.clone())).unzip();
        let right = Answerer::Routed(routed).right(model, &asked, grader.into(), longest)?;
        self.known.extend(new.into_iter().zip(right));
        Ok(keys.iter().map(|key| self.known[key]).collect())
    }
}

fn questions(passage: &Passage, questions: &[Question]) -> Vec<Item> {
    let items = questions.iter().map(|q| Item {
        question: q.question.clone(),
        prompt: ask(&passage.title, &q.question),
        gold: q.answer.clone(),
    });
    items.collect()
}

/// A journal that stores only the study notes.
struct NotesOnly<'a> {
    shared: &'a Shared,
    key: String,
    /// The seconds that writing the recalled notes took.
    written: Mutex<Option<f32>>,
}

const NOTES: &str = "self_edits";

impl NotesOnly<'_> {
    /// The seconds saved by recalled notes. Seconds that were spent on new notes are stored with the notes.
    fn saved(&self, report: &Report) -> f32 {
        if let Some(seconds) = *self.written.lock().expect("nobody panics with it") {
            return seconds;
        }
        let spent = report.seconds.get("self_edit").copied().unwrap_or(0.0);
        let mut notes = self.shared.notes.lock().expect("nobody panics with it");
        if let Some((_, seconds)) = notes.get_mut(&self.key) {
            *seconds = spent;
        }
        0.0
    }
}

impl Journal for NotesOnly<'_> {
    fn recall(&self, key: &str) -> Result<Option<Value>, Interrupted> {
        let notes = self.shared.notes.lock().expect("nobody panics with it");
        let found = notes.get(&self.key).filter(|_| key == NOTES);
        if let Some((_, seconds)) = found {
            *self.written.lock().expect("nobody panics with it") = Some(*seconds);
        }
        Ok(found.map(|(value, _)| value.clone()))
    }

    fn remember(&self, key: &str, value: &Value) -> Result<(), Interrupted> {
        if key == NOTES {
            let mut notes = self.shared.notes.lock().expect("nobody panics with it");
            notes.insert(self.key.clone(), (value.clone(), 0.0));
        }
        Ok(())
    }

    fn progress(&self, _: &str, _: f32, _: &str) {}
    fn event(&self, _: &str, _: Value) {}
    fn check(&self) -> Result<(), Interrupted> {
        Ok(())
    }
}
