//! Tests of the adapt job from configurations to the published adapter, with restarts. The scripted model answers
//! right after training at a high rate.

use super::run::{AdaptHandler, AdaptInput, AdaptResult};
use crate::adapters::{AliasName, Registry, delete_expired};
use crate::jobs::{Handler, JobContext, JobFailure, Jobs};
use crate::learn::fewshot::report::Origin;
use crate::learn::fewshot::{AdaptOptions, FewShot, Grid, Pair, SelfEdit, Task};
use crate::learn::ports::model::{Adapter, Trained};
use crate::learn::scripted::{ScriptedModel, number_of};
use crate::store::{self, Job, JobKind, Store};
use autodidact_engine::tiny::tiny_config;
use autodidact_engine::{Error, Family, Lora, LoraConfig};
use serde_json::{Value, json};
use std::cell::Cell;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const GOOD_RATE: f32 = 0.002;

fn configuration(rate: f32) -> String {
    let mut edit = SelfEdit::default();
    edit.training.learning_rate = rate;
    serde_json::to_string(&edit).unwrap()
}

/// A model that first writes a configuration with too low a rate and then a good one. It repeats grids after it has
/// learned. The training call with the number `dies_at` fails.
fn learner(dies_at: Arc<Mutex<Option<usize>>>) -> ScriptedModel {
    ScriptedModel::default()
        .generating(|prompt, adapter, sampling| {
            let learned = adapter.is_some_and(|a| number_of(a) == 1);
            let said = match (&prompt.schema, sampling.temperature == 0.0) {
                (Some(_), true) => configuration(0.0001),
                (Some(_), false) => configuration(GOOD_RATE),
                (None, _) if learned => prompt.user.clone(),
                (None, _) => "no grid".to_owned(),
            };
            vec![said; sampling.n]
        })
        .training(move |training, nth| {
            if *dies_at.lock().unwrap() == Some(nth) {
                return Err(Error::Stopped.into());
            }
            // An adapter that has learned is marked by its alpha.
            let alpha = match training.update.learning_rate == GOOD_RATE {
                true => 1.0,
                false => 2.0,
            };
            let config = LoraConfig::all_linear(training.update.rank, alpha);
            let lora = Lora::random(config, &tiny_config(Family::Llama), 1);
            Ok(Trained {
                adapter: Adapter(Arc::new(lora)),
                losses: vec![1.0, 0.5],
                tokens: 10,
            })
        })
}

struct Place {
    _directory: TempDir,
    jobs: Jobs,
    registry: Arc<Registry>,
    model: Arc<ScriptedModel>,
    dies_at: Arc<Mutex<Option<usize>>>,
    /// Number of training calls that a test has checked.
    seen: Cell<usize>,
    handler: AdaptHandler,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let config = tiny_config(Family::Llama);
    let registry = Arc::new(Registry::new(store.clone(), config, "tiny", "sha256:0"));
    let dies_at = Arc::default();
    let model = Arc::new(learner(Arc::clone(&dies_at)));
    Place {
        _directory: directory,
        jobs: Jobs::new(store, 10),
        registry: registry.clone(),
        handler: AdaptHandler::new(model.clone(), registry, 2048),
        model,
        dies_at,
        seen: Cell::new(0),
    }
}

fn grid(n: u8) -> Grid {
    Grid::build(2, 2, |y, x| (n + y as u8 + 2 * x as u8) % 10).unwrap()
}

fn task() -> Task {
    let pair = |n| Pair {
        input: grid(n),
        output: grid(n),
    };
    Task::Grid(FewShot {
        train: (0..3).map(pair).collect(),
        test: vec![grid(7)],
    })
}

fn input() -> AdaptInput {
    AdaptInput {
        task: task(),
        adapter: None,
        self_edit: None,
        options: AdaptOptions {
            rank: 2,
            // Enough time even on a busy machine.
            seconds: 3600.0,
            ..AdaptOptions::default()
        },
        ttl_seconds: Some(60),
    }
}

impl Place {
    fn submit(&self, alias: &str, input: &AdaptInput) {
        let alias = AliasName::parse(alias).unwrap();
        let input = json!(input);
        self.jobs
            .submit(JobKind::Adapt, &alias, &input, None)
            .unwrap();
    }

    /// Runs the next job in the queue once.
    fn run(&self) -> (Job, Result<AdaptResult, JobFailure>) {
        let job = self.jobs.store().jobs().lease_next("test").unwrap();
        let job = job.expect("a job waits");
        let cx = JobContext::new(&self.jobs, job.clone(), Arc::default());
        let result = self.handler.run(&cx, job.input.clone());
        (
            job,
            result.map(|value| serde_json::from_value(value).unwrap()),
        )
    }

    fn done(&self, job: &Job) {
        let outcome = store::Outcome::Succeeded(Value::Null);
        self.jobs.store().jobs().finish(&job.id, &outcome).unwrap();
    }

    /// Number of adapters in each training call since the last check.
    fn trainings(&self) -> Vec<usize> {
        let calls = self.model.training_calls();
        let new = calls[self.seen.replace(calls.len())..].iter();
        new.map(Vec::len).collect()
    }
}

#[test]
fn the_configuration_that_answers_what_it_has_not_seen_is_taken() {
    let place = place();
    place.submit("adapt-1", &input());
    let (job, result) = place.run();
    let result = result.unwrap();
    let report = &result.report;
    let rates: Vec<f32> = (report.tried.iter())
        .map(|t| t.self_edit.training.learning_rate)
        .collect();
    assert_eq!(rates, [0.0001, GOOD_RATE]);
    assert!(report.tried.iter().all(|t| t.origin == Origin::Written));
    let right: Vec<_> = report
        .tried
        .iter()
        .map(|t| t.score.unwrap().right)
        .collect();
    // Every demonstration was held out once.
    assert_eq!(right, [0, 3]);
    assert_eq!(report.in_context.unwrap().right, 0);
    assert!(!report.tried[0].chosen && report.tried[1].chosen);
    assert_eq!(report.self_edit.training.learning_rate, GOOD_RATE);
    let prediction = &report.predictions[0];
    assert_eq!(prediction.attempts[0].output, json!(grid(7)));
    assert_eq!(prediction.attempts[0].votes, prediction.views);
    // Two calls measure the pace, one trains two configurations on three demonstrations, one trains the adapter.
    assert_eq!(place.trainings(), [1, 1, 6, 1]);

    assert_eq!((result.adapter.as_str(), result.version), ("adapt-1", 1));
    let version = place.registry.resolve("adapt-1").unwrap();
    assert!(version.adapter.is_some());
    let events = place.jobs.store().events().since(&job.id, 0, 100).unwrap();
    let told = events.iter().filter(|e| e.kind == "candidate").count();
    assert_eq!(told, 2);
}

#[test]
fn a_killed_job_tries_no_candidate_twice_and_publishes_once() {
    let place = place();
    place.submit("adapt-1", &input());
    *place.dies_at.lock().unwrap() = Some(4);
    let (_, failed) = place.run();
    assert_eq!(
        failed.unwrap_err(),
        JobFailure::new("model", "the engine has stopped")
    );
    assert_eq!(place.trainings(), [1, 1, 6, 1]);

    *place.dies_at.lock().unwrap() = None;
    place.jobs.store().jobs().requeue_orphans().unwrap();
    let (job, result) = place.run();
    let result = result.unwrap();
    assert_eq!(place.trainings(), [1], "only the adapter is trained again");
    let events = place.jobs.store().events().since(&job.id, 0, 100).unwrap();
    assert_eq!(events.iter().filter(|e| e.kind == "candidate").count(), 2);

    // The job dies again, after publishing.
    place.jobs.store().jobs().requeue_orphans().unwrap();
    let (_, again) = place.run();
    let again = again.unwrap();
    assert_eq!(json!(again), json!(result));
    assert!(place.trainings().is_empty());
    let alias = AliasName::parse("adapt-1").unwrap();
    assert_eq!(place.registry.get(&alias).unwrap().versions, 1);
}

#[test]
fn a_given_configuration_is_trained_as_it_is() {
    let place = place();
    let mut edit = SelfEdit::default();
    edit.training.learning_rate = GOOD_RATE;
    let input = AdaptInput {
        self_edit: Some(edit.clone()),
        ttl_seconds: None,
        ..input()
    };
    place.submit("kept", &input);
    let (job, result) = place.run();
    let result = result.unwrap();
    assert_eq!(result.report.tried.len(), 1);
    assert_eq!(result.report.tried[0].origin, Origin::Given);
    assert_eq!(result.report.self_edit, edit);
    assert_eq!(
        place.trainings(),
        [1, 1, 1],
        "twice for the pace, and the adapter"
    );
    place.done(&job);

    // A further adaptation gives a next version of the same shape.
    let further = AdaptInput {
        adapter: Some(AliasName::parse("kept").unwrap()),
        options: AdaptOptions {
            rank: 5,
            ..AdaptOptions::default()
        },
        ..input
    };
    place.submit("kept", &further);
    let (_, result) = place.run();
    assert_eq!(result.unwrap().version, 2);
    let trainings = place.model.trainings();
    assert_eq!(trainings.last().unwrap().update.rank, 2);
    let alias = AliasName::parse("kept").unwrap();
    let version = place.registry.version(&alias, 2).unwrap();
    assert_eq!(
        (version.parent, &version.lineage["from"]),
        (Some(1), &json!("kept@1"))
    );
}

#[test]
fn only_adapters_whose_time_is_over_are_deleted() {
    let place = place();
    let with = |ttl_seconds| AdaptInput {
        ttl_seconds,
        self_edit: Some(SelfEdit::default()),
        ..input()
    };
    let inputs = [
        ("adapt-a", Some(0)),
        ("adapt-b", Some(600)),
        ("adapt-c", None),
        ("other", Some(0)),
    ];
    for (alias, ttl) in inputs {
        place.submit(alias, &with(ttl));
        let (job, result) = place.run();
        result.unwrap();
        place.done(&job);
    }
    assert_eq!(delete_expired(&place.registry).unwrap(), 1);
    let left = place.registry.list(None, 10).unwrap().items;
    let left: Vec<_> = left.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(left, ["adapt-b", "adapt-c", "other"]);
    assert_eq!(delete_expired(&place.registry).unwrap(), 0);
}
