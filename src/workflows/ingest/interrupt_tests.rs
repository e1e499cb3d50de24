//! A request to stop interrupts a generation, however long the model takes.

use super::run::IngestHandler;
use crate::adapters::{AliasName, Registry};
use crate::jobs::{Jobs, Runner};
use crate::learn::options::precedence::SettingsStack;
use crate::pool::LocalModel;
use crate::store::{JobKind, JobState, NewDocument, Store};
use autodidact_engine::{
    Engine, EngineOptions, Executor, Family, KvSlot, LoraGrads, ModelConfig, ModelFiles,
    PackedBatch, Priority, Reference, Result, Score, Target, reference, tiny,
};
use serde_json::json;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// Long enough that only a broken test waits for it.
const LONG: Duration = Duration::from_secs(60);

/// An executor that reports the begin of a forward pass, and blocks there until the other end of `gate` is dropped.
struct Held {
    inner: Reference,
    arrived: Sender<()>,
    gate: Receiver<()>,
}

impl Executor for Held {
    fn forward(&mut self, batch: &PackedBatch, wanted: &[usize]) -> Result<Vec<f32>> {
        let _ = self.arrived.send(());
        let _ = self.gate.recv();
        self.inner.forward(batch, wanted)
    }

    fn config(&self) -> &ModelConfig {
        self.inner.config()
    }

    fn kv_new(&mut self) -> KvSlot {
        self.inner.kv_new()
    }

    fn kv_fork(&mut self, from: KvSlot, len: usize) -> KvSlot {
        self.inner.kv_fork(from, len)
    }

    fn kv_len(&self, slot: KvSlot) -> usize {
        self.inner.kv_len(slot)
    }

    fn kv_free(&mut self, slot: KvSlot) {
        self.inner.kv_free(slot);
    }

    fn score(&mut self, batch: &PackedBatch, targets: &[Target]) -> Result<Vec<Score>> {
        self.inner.score(batch, targets)
    }

    fn backward(
        &mut self,
        batch: &PackedBatch,
        targets: &[Target],
        grads: &mut [Option<LoraGrads>],
    ) -> Result<Vec<f32>> {
        self.inner.backward(batch, targets, grads)
    }
}

/// An ingest job in the middle of its study notes, with a blocked model.
struct Place {
    jobs: Jobs,
    job: String,
    /// Blocks the model. Dropped before the runner, because a broken test would otherwise wait for the runner.
    _hold: Sender<()>,
    runner: Runner,
    _directory: TempDir,
}

fn writing() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("model");
    tiny::write_tiny(&model, Family::Llama, 1).unwrap();
    let files = Arc::new(ModelFiles::open(&model).unwrap());
    let (arrived, inside) = channel();
    let (hold, gate) = channel();
    let executor = Held {
        inner: Reference::new(&files, &reference::device().unwrap()).unwrap(),
        arrived,
        gate,
    };
    let (config, digest) = (files.config.clone(), files.digest.clone());
    let engine = Engine::start(files, Box::new(executor), EngineOptions::default());

    let store = Store::open(&directory.path().join("data")).unwrap();
    let registry = Registry::new(store.clone(), config, "tiny", digest);
    let model = LocalModel::new(engine, Priority::Ingest);
    let options = json!({"self_edit": {"kind": "rewrite"}});
    let handler = IngestHandler::new(
        Arc::new(model),
        Arc::new(registry),
        SettingsStack::new(vec![options]).unwrap(),
    );
    let jobs = Jobs::new(store, 10);
    let runner =
        Runner::start(&jobs, [(JobKind::Ingest, Arc::new(handler) as _)].into(), 1).unwrap();
    let alias = AliasName::parse("kb").unwrap();
    let documents = [NewDocument::new("Ferry", "The ferry leaves at ten.")];
    let job = jobs
        .submit_documents(&alias, &json!({}), &documents, None)
        .map(|accepted| accepted.job);
    inside.recv().unwrap();
    Place {
        job: job.unwrap().id,
        jobs,
        runner,
        _hold: hold,
        _directory: directory,
    }
}

#[tokio::test]
async fn a_job_is_cancelled_while_the_model_writes() {
    let place = writing();
    place.jobs.cancel(&place.job).unwrap();
    let job = place.jobs.wait(&place.job, LONG).await.unwrap();
    assert_eq!(job.state, JobState::Cancelled);
}

#[tokio::test]
async fn a_job_is_paused_while_the_model_writes() {
    let place = writing();
    let mut events = place.jobs.subscribe(&place.job, 0).unwrap();
    place.jobs.pause(&place.job).unwrap();
    while place.jobs.get(&place.job).unwrap().state != JobState::Paused {
        let next = tokio::time::timeout(LONG, events.next()).await.unwrap();
        next.unwrap().expect("the job goes on");
    }
}

#[test]
fn a_server_stops_while_the_model_writes() {
    let place = writing();
    let (done, stopped) = channel();
    let runner = place.runner;
    thread::spawn(move || {
        runner.shutdown();
        let _ = done.send(());
    });
    stopped.recv_timeout(LONG).expect("the runner stops");
    let job = place.jobs.get(&place.job).unwrap();
    assert_eq!(job.state, JobState::Queued);
}
