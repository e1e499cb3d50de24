//! Unlearning where several documents had joined one adapter of an alias that routes.

use super::run::UnlearnHandler;
use crate::adapters::{AliasName, Lineage, Registry};
use crate::jobs::{Handler, JobContext, JobFailure, Jobs};
use crate::learn::inner::update::MAX_ROUTES;
use crate::learn::options::precedence::SettingsStack;
use crate::learn::ports::model::{Adapter, Trained};
use crate::learn::scripted::ScriptedModel;
use crate::question::Question;
use crate::store::{Document, DocumentState, NewDocument, Store};
use crate::workflows::ingest::run::IngestHandler;
use autodidact_engine::tiny::tiny_config;
use autodidact_engine::{Family, Lora, LoraConfig};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

struct Place {
    _directory: TempDir,
    jobs: Jobs,
    model: Arc<ScriptedModel>,
    registry: Arc<Registry>,
    settings: SettingsStack,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let config = tiny_config(Family::Llama);
    let model = ScriptedModel::default()
        .answering(|_, adapter| match adapter {
            None => "an answer of the base".to_owned(),
            Some(_) => "Ada Finch".to_owned(),
        })
        .training(|training, nth| {
            let config = LoraConfig::all_linear(training.update.rank, training.update.alpha);
            let lora = Lora::random(config, &tiny_config(Family::Llama), nth as u64);
            Ok(Trained {
                adapter: Adapter(Arc::new(lora)),
                losses: vec![1.0],
                tokens: 1,
            })
        });
    let options = json!({
        "gate": {"mode": "off", "general_probes": 0, "attempts": 2},
        "self_edit": {"kind": "none"},
        "training": {"rank": 2},
    });
    Place {
        _directory: directory,
        jobs: Jobs::new(store.clone(), 10),
        model: Arc::new(model),
        registry: Arc::new(Registry::new(store, config, "tiny", "sha256:0")),
        settings: SettingsStack::new(vec![options]).unwrap(),
    }
}

/// The same with one adapter for all documents.
fn sequential() -> Place {
    let settings = json!({"training": {"strategy": "sequential"}, "gate": {"mode": "off", "general_probes": 0},
        "self_edit": {"kind": "none"}});
    Place {
        settings: SettingsStack::new(vec![settings]).unwrap(),
        ..place()
    }
}

impl Place {
    fn run(&self, handler: &dyn Handler) -> Result<Value, JobFailure> {
        let job = self.jobs.store().jobs().lease_next("test").unwrap();
        let job = job.expect("a job waits");
        let cx = JobContext::new(&self.jobs, job.clone(), Arc::default());
        let result = handler.run(&cx, job.input.clone());
        let outcome = crate::store::Outcome::Succeeded(Value::Null);
        self.jobs.store().jobs().finish(&job.id, &outcome).unwrap();
        result
    }

    /// Teaches the documents with these texts and returns them.
    fn teach(&self, texts: &[String]) -> Vec<Document> {
        let new = |text: &String| NewDocument {
            questions: vec![Question {
                question: format!("Who says: {text}"),
                answer: "Ada Finch".into(),
            }],
            external_id: Some(text.clone()),
            ..NewDocument::new(text, text)
        };
        let documents: Vec<NewDocument> = texts.iter().map(new).collect();
        self.learn(&json!({}), &documents)
    }

    /// Has the documents learned under these options of a request, and returns them.
    fn learn(&self, options: &Value, documents: &[NewDocument]) -> Vec<Document> {
        let job = self
            .jobs
            .submit_documents(&kb(), options, documents, None)
            .map(|accepted| accepted.job);
        let handler = IngestHandler::new(
            self.model.clone(),
            self.registry.clone(),
            self.settings.clone(),
        );
        self.run(&handler).unwrap();
        let documents = self.jobs.store().documents();
        documents.for_job(&job.unwrap().id).unwrap()
    }

    fn unlearn(&self, document: &Document) -> Value {
        let input = json!({"document": document.id});
        self.jobs.submit_unlearning(&kb(), &input, None).unwrap();
        let handler = UnlearnHandler::new(
            self.model.clone(),
            self.registry.clone(),
            self.settings.clone(),
        );
        self.run(&handler).unwrap()
    }

    fn routes(&self, number: u64) -> Vec<(String, Option<u64>)> {
        let version = self.registry.version(&kb(), number).unwrap();
        let lineage = Lineage::of(&version).unwrap();
        let routes = lineage.routes().unwrap().documents.iter();
        routes.map(|r| (r.document.clone(), r.version)).collect()
    }
}

fn kb() -> AliasName {
    AliasName::parse("kb").unwrap()
}

/// As many documents as adapters, and one more. It is most like the sixth, and joins that one's adapter.
fn texts_with_a_joiner() -> Vec<String> {
    let own = (0..MAX_ROUTES).map(|n| format!("The zebra{n}q stands by the pond{n}q."));
    let joiner = "The zebra5q and the pond5q are green.".to_owned();
    own.chain([joiner]).collect()
}

#[test]
fn a_document_that_joined_an_adapter_leaves_it() {
    let place = place();
    let documents = place.teach(&texts_with_a_joiner());
    let (sixth, last) = (&documents[5], &documents[MAX_ROUTES]);
    let number = MAX_ROUTES as u64 + 1;
    let routes = place.routes(number);
    assert_eq!(routes[5], (sixth.id.clone(), None));
    assert_eq!(routes[MAX_ROUTES], (last.id.clone(), None));

    let before = place.model.trainings().len();
    let result = place.unlearn(sixth);
    assert_eq!(result["live_version"], number + 1, "{result}");
    let trainings = place.model.trainings();
    // Every adapter knows everything here, so nothing looks forgotten, and each allowed training is tried.
    assert_eq!(trainings.len() - before, 2);
    let told = format!("{:?}", trainings[before].texts);
    assert!(
        told.contains("are green") && !told.contains("stands by"),
        "{told}"
    );
    assert!(trainings[before].init.is_none());
    let report = &result["report"];
    assert_eq!(
        (&report["forgotten"], &report["score_base"]),
        (&json!(false), &json!(0.0))
    );
    assert_eq!(report["retention"]["probes"], 1);

    let routes = place.routes(number + 1);
    assert_eq!(routes.len(), MAX_ROUTES);
    assert!(routes.iter().all(|(id, _)| *id != sixth.id));
    assert_eq!(routes[MAX_ROUTES - 1], (last.id.clone(), None));
    // Both adapters that held it are gone, and the earlier versions answer without it.
    for gone in [6, number] {
        assert!(place.registry.version(&kb(), gone).is_err(), "{gone}");
    }
    assert!(place.routes(7).iter().all(|(id, _)| *id != sixth.id));
    let stored = place.jobs.store().documents();
    assert_eq!(stored.get(&sixth.id).unwrap(), None);
    assert_eq!(
        stored.get(&last.id).unwrap().unwrap().version,
        Some(number + 1)
    );
    assert_eq!(
        place.registry.get(&kb()).unwrap().documents,
        MAX_ROUTES as u64
    );
}

#[test]
fn a_document_beside_another_in_a_version_that_is_not_live_is_told() {
    let place = sequential();
    let texts = [
        "The zebra stands.",
        "The pond is deep.",
        "The pier is long.",
    ];
    let documents = place.teach(&texts.map(str::to_owned));
    place.registry.rollback(&kb(), 1, None).unwrap();
    let error = place.registry.plan_unlearning(&documents[1]).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains(&documents[2].id) && message.contains("version 3"),
        "{message}"
    );
    let plan = place.registry.plan_unlearning(&documents[2]).unwrap();
    assert_eq!(place.registry.leave(&plan).unwrap(), Some(1));
    let plan = place.registry.plan_unlearning(&documents[1]).unwrap();
    assert_eq!(place.registry.leave(&plan).unwrap(), Some(1));
    let left = place.registry.versions(&kb(), None, 10).unwrap().items;
    assert_eq!(left.iter().map(|v| v.number).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_deletion_asked_for_twice_is_one_job() {
    let place = place();
    let documents = place.teach(&["The zebra stands.".to_owned()]);
    let input = json!({"document": documents[0].id});
    let first = place
        .jobs
        .submit_unlearning(&kb(), &input, Some(7.0))
        .unwrap();
    assert_eq!(first.progress.eta_seconds, Some(7.0));
    let second = place.jobs.submit_unlearning(&kb(), &input, None).unwrap();
    assert_eq!(second.id, first.id);
}

#[test]
fn a_replaced_document_leaves_the_adapter_that_goes_on_for_another() {
    let place = place();
    let documents = place.teach(&texts_with_a_joiner());
    let (sixth, last) = (&documents[5], &documents[MAX_ROUTES]);
    // Its newer text is most like the first, and is learned by that adapter.
    let newer = NewDocument {
        external_id: sixth.external_id.clone(),
        replace: true,
        ..NewDocument::new("newer", "The zebra0q stands by the pond0q and sleeps.")
    };
    place.learn(&json!({}), &[newer]);
    let stored = || place.jobs.store().documents();
    let replaced = stored().get(&sixth.id).unwrap().unwrap();
    assert_eq!(replaced.state, DocumentState::Replaced);
    let number = MAX_ROUTES as u64 + 1;
    let plan = place.registry.plan_unlearning(&replaced).unwrap();
    let again: Vec<&str> = plan.to_train().iter().map(|d| d.id.as_str()).collect();
    assert_eq!(again, [last.id.as_str()]);
    assert_eq!(plan.versions, [6, number].into());
    place.unlearn(&replaced);
    for gone in [6, number] {
        assert!(place.registry.version(&kb(), gone).is_err(), "{gone}");
    }
    assert_eq!(stored().get(&sixth.id).unwrap(), None);
    let last = stored().get(&last.id).unwrap().unwrap();
    assert_eq!(last.version, Some(number + 2));
}

#[test]
fn no_rollback_brings_a_replaced_and_deleted_document_back() {
    let place = sequential();
    let documents = place.teach(&["The zebra stands.", "The pond is deep."].map(str::to_owned));
    let newer = NewDocument {
        external_id: documents[0].external_id.clone(),
        replace: true,
        ..NewDocument::new("newer", "The zebra sleeps.")
    };
    let newer = place.learn(&json!({}), &[newer]).remove(0);
    let stored = place.jobs.store().documents();
    let replaced = stored.get(&documents[0].id).unwrap().unwrap();
    let plan = place.registry.plan_unlearning(&replaced).unwrap();
    assert!(!plan.in_force);
    assert_eq!(place.registry.leave(&plan).unwrap(), Some(3));
    let left = place.registry.versions(&kb(), None, 10).unwrap().items;
    assert_eq!(left.iter().map(|v| v.number).collect::<Vec<_>>(), [3]);
    for gone in [1, 2] {
        assert!(place.registry.rollback(&kb(), gone, None).is_err());
    }
    // What version 2 had learned belongs to the version that continued it.
    for kept in [&documents[1], &newer] {
        let kept = stored.get(&kept.id).unwrap().unwrap();
        assert_eq!(
            (kept.state, kept.version),
            (DocumentState::Learned, Some(3))
        );
    }
    assert_eq!(place.registry.get(&kb()).unwrap().documents, 2);
}

#[test]
fn what_is_left_is_graded_as_the_document_was() {
    let place = place();
    let gate =
        |grader: &str| json!({"gate": {"grader": grader, "mode": "off", "general_probes": 0}});
    let document = |n: usize| NewDocument {
        questions: vec![Question {
            question: format!("Who says {n}?"),
            answer: "Ada".into(),
        }],
        ..NewDocument::new(format!("zebra{n}"), format!("The zebra{n}q stands."))
    };
    // The adapter says "Ada Finch".
    for (n, grader, score) in [(0, "exact", 0.0), (1, "contains", 1.0)] {
        let learned = place.learn(&gate(grader), &[document(n)]).remove(0);
        let report = place.unlearn(&learned)["report"].clone();
        assert_eq!(report["score_before"], score, "{report}");
    }
    // A judge that is not there any more holds no deletion up.
    let learned = place.learn(&json!({}), &[document(2)]).remove(0);
    let judged = Place {
        settings: SettingsStack::new(vec![json!({"gate": {"grader": "judge"}})]).unwrap(),
        ..place
    };
    assert_eq!(judged.unlearn(&learned)["report"]["score_before"], 1.0);
}
