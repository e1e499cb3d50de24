//! An adaptation by a model that never finishes anything: only the budget and the job end its calls.

use super::options::AdaptOptions;
use super::self_edit::SelfEdit;
use super::task::{FewShot, Pair, Task};
use super::{Adaptation, Grid, adapt};
use crate::learn::ports::journal::{Interrupted, Journal};
use crate::learn::ports::model::{
    Adapter, Limits, Model, ModelError, OnStep, Prompt, Sampling, Trained, Training,
};
use crate::learn::ports::watch::Watch;
use crate::learn::scripted::{MemoryJournal, numbered_adapter};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Counts its calls.
#[derive(Default)]
struct Endless {
    generated: AtomicUsize,
    trained: AtomicUsize,
}

fn until(watch: &dyn Watch) -> ModelError {
    while !watch.stopped() {
        std::thread::yield_now();
    }
    ModelError::Stopped
}

impl Model for Endless {
    fn window(&self) -> usize {
        1 << 20
    }

    fn tokens(&self, text: &str) -> usize {
        text.len()
    }

    fn generate(
        &self,
        _: &[Prompt],
        _: Option<&Adapter>,
        _: &Sampling,
        watch: &dyn Watch,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        self.generated.fetch_add(1, Ordering::Relaxed);
        Err(until(watch))
    }

    fn likelihood(
        &self,
        _: &[(Prompt, String)],
        _: Option<&Adapter>,
        watch: &dyn Watch,
    ) -> Result<Vec<f32>, ModelError> {
        Err(until(watch))
    }

    fn train_within(
        &self,
        trainings: Vec<Training>,
        _: &mut OnStep<'_>,
        limits: &Limits<'_>,
    ) -> Result<Vec<Trained>, ModelError> {
        self.trained.fetch_add(1, Ordering::Relaxed);
        let end = limits.deadline.expect("the budget ends it");
        while Instant::now() < end {
            if limits.watch.stopped() {
                return Err(ModelError::Stopped);
            }
            std::thread::yield_now();
        }
        let unchanged = |_| Trained {
            adapter: numbered_adapter(0),
            losses: Vec::new(),
            tokens: 0,
        };
        Ok(trainings.into_iter().map(unchanged).collect())
    }
}

fn run(
    given: Option<&SelfEdit>,
    seconds: f32,
    journal: &dyn Journal,
) -> (Endless, Result<super::AdaptOutcome, Interrupted>) {
    run_with(2, given, seconds, journal)
}

/// A task of so many demonstrations, all of the largest grids.
fn run_with(
    demonstrations: u8,
    given: Option<&SelfEdit>,
    seconds: f32,
    journal: &dyn Journal,
) -> (Endless, Result<super::AdaptOutcome, Interrupted>) {
    let grid = |n: u8| Grid::build(30, 30, |y, x| (n + y as u8 + 2 * x as u8) % 10).unwrap();
    let pair = |n| Pair {
        input: grid(n),
        output: grid(n + 1),
    };
    let task = Task::Grid(FewShot {
        train: (0..demonstrations).map(|n| pair(2 * n)).collect(),
        test: vec![grid(4), grid(6)],
    });
    let options = AdaptOptions {
        seconds,
        ..AdaptOptions::default()
    };
    let model = Endless::default();
    let start = Adaptation {
        task: &task,
        given,
        policy: None,
        init: None,
        options: &options,
        window: 32_768,
    };
    let outcome = adapt(&model, &start, journal);
    (model, outcome)
}

#[test]
fn every_stage_ends_with_the_budget_and_says_so() {
    let journal = MemoryJournal::default();
    let (model, outcome) = run(Some(&SelfEdit::default()), 0.1, &journal);
    let report = outcome.unwrap().report;
    // One training measures the pace and one is the adapter's: the least plan, and neither finished a step.
    assert_eq!(model.trained.load(Ordering::Relaxed), 2);
    assert_eq!(report.training.steps, 0);
    assert_eq!(report.cut_short, ["training", "predictions"]);
    assert_eq!(report.predictions.len(), 2);
    assert!(
        report
            .predictions
            .iter()
            .all(|p| p.attempts.is_empty() && p.views == 0)
    );

    // A model that writes no configuration in its share of the time gets the usual one.
    let journal = MemoryJournal::default();
    let (_, outcome) = run(None, 0.1, &journal);
    let report = outcome.unwrap().report;
    assert_eq!(report.tried.len(), 1);
    assert_eq!(report.cut_short, ["training", "predictions"]);
}

#[test]
fn the_largest_task_is_planned_within_the_budget() {
    // It has tens of thousands of sequences of a hundred kilobytes.
    let mut edit = SelfEdit::default();
    edit.data_generation.use_basic_augmentations = true;
    let (model, outcome) = run_with(32, Some(&edit), 0.1, &MemoryJournal::default());
    let report = outcome.unwrap().report;
    assert_eq!(model.trained.load(Ordering::Relaxed), 2);
    // The least plan.
    assert_eq!(report.training.sequences, 1);
    assert_eq!(report.cut_short, ["training", "predictions"]);
}

/// Says stop from its hundredth check on.
#[derive(Default)]
struct Cancelled {
    checks: AtomicUsize,
}

impl Journal for Cancelled {
    fn recall(&self, _: &str) -> Result<Option<Value>, Interrupted> {
        Ok(None)
    }

    fn remember(&self, _: &str, _: &Value) -> Result<(), Interrupted> {
        Ok(())
    }

    fn progress(&self, _: &str, _: f32, _: &str) {}

    fn event(&self, _: &str, _: Value) {}

    fn check(&self) -> Result<(), Interrupted> {
        match self.checks.fetch_add(1, Ordering::Relaxed) < 100 {
            true => Ok(()),
            false => Err(Interrupted::Stopped),
        }
    }
}

#[test]
fn a_cancelled_job_ends_inside_the_stage_it_is_in() {
    // The first training would take half an hour.
    let (model, outcome) = run(Some(&SelfEdit::default()), 3600.0, &Cancelled::default());
    assert!(matches!(outcome, Err(Interrupted::Stopped)));
    assert_eq!(model.trained.load(Ordering::Relaxed), 1);
    // So does the writing of configurations.
    let (model, outcome) = run(None, 3600.0, &Cancelled::default());
    assert!(matches!(outcome, Err(Interrupted::Stopped)));
    assert_eq!(model.generated.load(Ordering::Relaxed), 1);
    assert_eq!(model.trained.load(Ordering::Relaxed), 0);
}
