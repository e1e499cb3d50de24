//! Tests of an ingest job when the model fails on some documents.

use super::run::IngestHandler;
use crate::adapters::{AliasName, Lineage, Registry};
use crate::jobs::{Handler, JobContext, JobFailure, Jobs};
use crate::learn::options::precedence::SettingsStack;
use crate::learn::ports::model::{Adapter, Trained, TrainingText};
use crate::learn::scripted::ScriptedModel;
use crate::question::Question;
use crate::store::{Document, DocumentState, Job, NewDocument, Store};
use autodidact_engine::tiny::tiny_config;
use autodidact_engine::{Error, Family, Lora, LoraConfig};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

/// A model that fails on texts about these two subjects.
fn picky() -> ScriptedModel {
    ScriptedModel::default()
        .answering(|_, adapter| match adapter {
            None => "an answer of the base".to_owned(),
            Some(_) => "an answer of an adapter".to_owned(),
        })
        .training(|training, _| {
            for text in &training.texts {
                let (TrainingText::Text { text } | TrainingText::Chat { user: text, .. }) = text
                else {
                    panic!("an ingest trains on no such text: {text:?}");
                };
                if text.contains("a curse") {
                    return Err(Error::Executor("the tape tore".into()).into());
                }
                if text.contains("the end") {
                    return Err(Error::Stopped.into());
                }
            }
            let config = LoraConfig::all_linear(training.update.rank, training.update.alpha);
            let lora = Lora::random(config, &tiny_config(Family::Llama), 1);
            Ok(Trained {
                adapter: Adapter(Arc::new(lora)),
                losses: vec![1.0],
                tokens: 1,
            })
        })
}

struct Place {
    _directory: TempDir,
    jobs: Jobs,
    registry: Arc<Registry>,
    handler: IngestHandler,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let config = tiny_config(Family::Llama);
    let registry = Arc::new(Registry::new(store.clone(), config, "tiny", "sha256:0"));
    let options = json!({
        "gate": {"mode": "off"},
        "self_edit": {"kind": "none"},
        "training": {"rank": 2},
    });
    Place {
        _directory: directory,
        jobs: Jobs::new(store, 10),
        handler: IngestHandler::new(
            Arc::new(picky()),
            registry.clone(),
            SettingsStack::new(vec![options]).unwrap(),
        ),
        registry,
    }
}

impl Place {
    fn submit(&self, texts: &[&str]) {
        let alias = AliasName::parse("kb").unwrap();
        let document = |text: &&str| NewDocument {
            questions: vec![Question {
                question: "What is it about?".into(),
                answer: "The ferry".into(),
            }],
            ..NewDocument::new(*text, *text)
        };
        let documents: Vec<NewDocument> = texts.iter().map(document).collect();
        self.jobs
            .submit_documents(&alias, &json!({}), &documents, None)
            .map(|accepted| accepted.job)
            .unwrap();
    }

    /// Runs the next job in the queue once.
    fn run(&self) -> (Job, Result<Value, JobFailure>) {
        self.run_with(json!({}))
    }

    fn run_with(&self, input: Value) -> (Job, Result<Value, JobFailure>) {
        let job = self.jobs.store().jobs().lease_next("test").unwrap();
        let job = job.expect("a job waits");
        let cx = JobContext::new(&self.jobs, job.clone(), Arc::default());
        (job, self.handler.run(&cx, input))
    }

    fn documents(&self, job: &Job) -> Vec<Document> {
        self.jobs.store().documents().for_job(&job.id).unwrap()
    }

    /// The events about failed documents.
    fn failures(&self, job: &Job) -> Vec<Value> {
        let events = self.jobs.store().events().since(&job.id, 0, 1000).unwrap();
        let of_documents = events.into_iter().filter(|e| e.kind == "document");
        of_documents
            .map(|e| e.data)
            .filter(|data| data["state"] == "failed")
            .collect()
    }
}

const TORN: &str = "the model failed: the tape tore";

#[test]
fn a_document_the_model_fails_on_does_not_take_the_others_with_it() {
    let place = place();
    place.submit(&["the ferry", "a curse", "the pier"]);
    let (job, result) = place.run();
    let result = result.unwrap();
    assert_eq!(result["live_version"], 2);
    let column = |key: &str| -> Vec<Value> {
        let rows = result["documents"].as_array().unwrap();
        rows.iter().map(|row| row[key].clone()).collect()
    };
    assert_eq!(column("state"), ["learned", "failed", "learned"]);
    assert_eq!(column("version"), [json!(1), Value::Null, json!(2)]);
    assert_eq!(column("reason")[1], TORN);

    let failed = &place.documents(&job)[1];
    assert_eq!(failed.state, DocumentState::Failed);
    let report = failed.report.as_ref().unwrap();
    assert_eq!(report["decision"]["accepted"], false);
    assert_eq!(report["decision"]["reason"], TORN);
    let told = json!({"document_id": failed.id, "title": "a curse", "state": "failed",
        "reason": TORN});
    assert_eq!(place.failures(&job), [told]);

    // A second run of the job neither tries the document nor emits its failure again.
    place.jobs.store().jobs().requeue_orphans().unwrap();
    let (job, again) = place.run();
    assert_eq!(again.unwrap(), result);
    assert_eq!(place.failures(&job).len(), 1);
}

#[test]
fn a_job_fails_if_the_model_failed_on_everything() {
    let place = place();
    place.submit(&["a curse", "a curse again"]);
    let (job, result) = place.run();
    assert_eq!(result, Err(JobFailure::new("model", TORN)));
    let states: Vec<_> = place.documents(&job).iter().map(|d| d.state).collect();
    assert_eq!(states, [DocumentState::Failed; 2]);
}

#[test]
fn an_engine_that_has_gone_ends_the_job() {
    let place = place();
    place.submit(&["the ferry", "the end", "the pier"]);
    let (job, result) = place.run();
    let gone = JobFailure::new("model", "the engine has stopped");
    assert_eq!(result, Err(gone));
    let states: Vec<_> = place.documents(&job).iter().map(|d| d.state).collect();
    assert_eq!(states[0], DocumentState::Learned);
    assert_eq!(states[2], DocumentState::Queued);
}

#[test]
fn a_policy_writes_the_notes_and_is_named() {
    let notes = |policy: &str| {
        let place = place();
        let writer = AliasName::parse("writer").unwrap();
        let config = LoraConfig::all_linear(2, 4.0);
        let lora = Lora::random(config, &tiny_config(Family::Llama), 3);
        let published = place
            .registry
            .publish(&writer, None, &lora, &Lineage::Upload);
        assert_eq!(published.unwrap().number, 1);
        place.submit(&["the ferry"]);
        let (job, result) =
            place.run_with(json!({"self_edit": {"kind": "rewrite", "policy": policy}}));
        let report = place.documents(&job)[0].report.clone().unwrap();
        (report["self_edits"][0].clone(), result)
    };
    let base = ("an answer of the base", Value::Null);
    let policy = ("an answer of an adapter", json!("writer@1"));
    for (asked, (text, by)) in [("writer", policy), ("tiny", base)] {
        let (edit, result) = notes(asked);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!((&edit["text"], &edit["policy"]), (&json!(text), &by));
    }
    // The policy may have been deleted since the request was checked.
    let failure = notes("writer@2").1.unwrap_err();
    assert!(
        format!("{failure:?}").contains("self_edit.policy"),
        "{failure:?}"
    );
}
