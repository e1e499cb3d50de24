//! Who answered for a document and who answers now, and how the answers are graded, for the report of its deletion.

use crate::adapters::records::report;
use crate::adapters::{AliasName, Registry, Unlearning};
use crate::learn::grading::Grading;
use crate::learn::grading::grader::Grader;
use crate::learn::inner::answerer::{Answerer, Load, Routed};
use crate::learn::inner::replay::{self, Earlier, Probe};
use crate::learn::inner::responders::{Responder, Responders};
use crate::learn::inner::unlearn::{Answering, UnlearnReport, left_of};
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::Interrupted;
use crate::learn::ports::model::{Adapter, Model};
use crate::learn::ports::text_model::TextModel;
use crate::store::{self, Document, Store};
use serde_json::{Value, json};

/// The request by which the document was learned, without its documents. Laid over the server's settings it gives those
/// under which the document was learned.
pub(super) fn request(store: &Store, document: &Document) -> Result<Value, store::Error> {
    let job = store.jobs().get(&document.job_id)?;
    let mut request = job.map_or(json!({}), |job| job.input);
    if let Some(fields) = request.as_object_mut() {
        fields.remove("documents");
    }
    Ok(request)
}

/// The grader of the document's questions, as its gate has it. Where the judge is gone they are graded by words, for a
/// deletion does not wait for one.
pub(super) fn grading<'a>(
    options: &IngestOptions,
    judge: Option<&'a dyn TextModel>,
) -> Grading<'a> {
    match options.gate.grader {
        Grader::Judge if judge.is_none() => Grader::default().into(),
        grader => Grading { grader, judge },
    }
}

/// The adapters of a plan, loaded.
pub(super) struct Adapters {
    /// The adapter that answers for the document now; `None`: the base.
    pub before: Option<Adapter>,
    /// The uploaded adapter that the alias began with; `None`: it began with the base.
    pub start: Option<Adapter>,
}

impl Adapters {
    pub fn load(registry: &Registry, plan: &Unlearning) -> crate::adapters::Result<Self> {
        let load = |number: Option<u64>| -> crate::adapters::Result<Option<Adapter>> {
            let loaded = number.map(|n| registry.load_number(&plan.alias, n));
            Ok(loaded.transpose()?.map(|l| Adapter(l.lora.clone())))
        };
        Ok(Adapters {
            before: load(plan.responder.version())?,
            start: load(plan.start)?,
        })
    }

    pub fn answering(&self) -> Answering<'_> {
        Answering {
            before: Answerer::One(self.before.as_ref()),
            base: Answerer::One(self.start.as_ref()),
        }
    }
}

/// A learned document as learning sees it, with the probes that are still asked.
pub(super) fn earlier(store: &Store, document: &Document) -> Result<Earlier, store::Error> {
    let probes = store.probes().for_document(&document.id)?.into_iter();
    let probes = probes.filter(|p| p.retired.is_none()).map(|p| Probe {
        id: p.id,
        question: Question {
            question: p.question,
            answer: p.answer,
        },
    });
    Ok(Earlier {
        passage: Passage::posted(&document.title, &document.text),
        texts: report(document)?.map_or(Vec::new(), |r| r.training_sequences),
        probes: probes.collect(),
    })
}

/// What is left of the document once its adapter has left the routes. `adapters` were loaded before.
pub(super) fn left(
    model: &dyn Model,
    registry: &Registry,
    plan: &Unlearning,
    adapters: &Adapters,
    (forgotten, remaining): (&Earlier, &[Earlier]),
    grading: Grading<'_>,
) -> Result<UnlearnReport, Interrupted> {
    let alias: &AliasName = &plan.alias;
    let load = |number: u64| -> Result<Adapter, Interrupted> {
        let loaded = registry.load_number(alias, number);
        let loaded = loaded.map_err(|e| Interrupted::Journal(e.to_string()))?;
        Ok(Adapter(loaded.lora.clone()))
    };
    let load: &Load<'_> = &load;
    let documents = remaining.iter().map(|e| (&e.passage, e.texts.as_slice()));
    let responders: Vec<Responder> = plan.remaining.iter().map(|(_, by)| *by).collect();
    let after = match plan.routed {
        true => Answerer::Routed(Routed {
            router: replay::router(documents),
            responders: Responders::by_document(responders, plan.otherwise),
            new: None,
            load,
        }),
        // The last document of an alias with one adapter: what it began with answers.
        false => Answerer::One(adapters.start.as_ref()),
    };
    let model = Interruptible::new(model, &|| false);
    left_of(model, forgotten, &adapters.answering(), &after, grading)
}
