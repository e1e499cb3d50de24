//! The unlearn job: it learns the documents that had shared an adapter with a deleted one again, and publishes the
//! version without it. Until then nothing changes; the publication deletes the document.

use super::measure::{self, Adapters};
use crate::adapters::lineage::{Lineage, UnlearnLineage};
use crate::adapters::{self, Registry, Unlearning};
use crate::jobs::{Handler, JobContext, JobFailure};
use crate::learn::inner::replay::Earlier;
use crate::learn::inner::unlearn::{Again, UnlearnReport, relearn};
use crate::learn::options::precedence::SettingsStack;
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::model::{Model, Update};
use crate::learn::ports::text_model::Helpers;
use crate::store::{self, ProbeScore, Store};
use crate::workflows::journal::JobJournal;
use serde_json::{Value, json};
use std::sync::Arc;

/// The step that keeps the report: after the publication the document is gone.
const REPORT: &str = "report";

pub struct UnlearnHandler {
    model: Arc<dyn Model>,
    registry: Arc<Registry>,
    learning: SettingsStack,
    helpers: Helpers,
}

impl UnlearnHandler {
    pub fn new(model: Arc<dyn Model>, registry: Arc<Registry>, learning: SettingsStack) -> Self {
        UnlearnHandler {
            model,
            registry,
            learning,
            helpers: Helpers::default(),
        }
    }

    /// Adds the judge that the settings may ask for.
    pub fn with_helpers(mut self, helpers: Helpers) -> Self {
        self.helpers = helpers;
        self
    }
}

impl Handler for UnlearnHandler {
    fn run(&self, cx: &JobContext, input: Value) -> Result<Value, JobFailure> {
        let id = input["document"].as_str().unwrap_or_default().to_owned();
        // The alias may be moved during the training; the job then starts over.
        loop {
            let Some(document) = cx.store().documents().get(&id)? else {
                return self.ended(cx, &id);
            };
            let plan = self.registry.plan_unlearning(&document)?;
            let done = match plan.to_train().is_empty() {
                true => self.leave(cx, &plan),
                false => self.relearn(cx, &plan),
            };
            match done {
                Err(Moved::Conflict) => {
                    let message = "the alias moved meanwhile; unlearning from its live version";
                    cx.event("moved", json!({"message": message}))?;
                }
                Err(Moved::Failed(failure)) => return Err(failure),
                Ok(()) => return self.ended(cx, &id),
            }
        }
    }
}

/// The end of a try without a publication.
enum Moved {
    Conflict,
    Failed(JobFailure),
}

impl<E: Into<JobFailure>> From<E> for Moved {
    fn from(failure: E) -> Self {
        Moved::Failed(failure.into())
    }
}

/// Tells a moved alias from a failure.
fn published<T>(result: adapters::Result<T>) -> Result<T, Moved> {
    result.map_err(|error| match error {
        adapters::Error::Store(store::Error::Conflict { .. }) => Moved::Conflict,
        error => Moved::Failed(error.into()),
    })
}

impl UnlearnHandler {
    /// The alias moved to a version that needs no training.
    fn leave(&self, cx: &JobContext, plan: &Unlearning) -> Result<(), Moved> {
        let journal = JobJournal::new(cx);
        let store = cx.store();
        let forgotten = measure::earlier(store, &plan.document)?;
        let remaining = plan.remaining.iter();
        let remaining: Result<Vec<Earlier>, store::Error> = remaining
            .map(|(document, _)| measure::earlier(store, document))
            .collect();
        let documents = (&forgotten, &*remaining?);
        let adapters = Adapters::load(&self.registry, plan)?;
        let (model, registry) = (&*self.model, &self.registry);
        let options = self.options(store, plan)?;
        let grading = measure::grading(&options, self.helpers.judge.as_deref());
        let left = measure::left(model, registry, plan, &adapters, documents, grading);
        let report = left.map_err(|e| journal.failure(e))?;
        self.remember(cx, &report)?;
        published(self.registry.leave(plan))?;
        Ok(())
    }

    fn relearn(&self, cx: &JobContext, plan: &Unlearning) -> Result<(), Moved> {
        let journal = &JobJournal::new(cx);
        let store = cx.store();
        let forgotten = measure::earlier(store, &plan.document)?;
        let documents = plan.to_train().into_iter();
        let documents: Result<Vec<Earlier>, store::Error> =
            documents.map(|d| measure::earlier(store, d)).collect();
        let documents = documents?;
        let adapters = Adapters::load(&self.registry, plan)?;
        let options = self.options(store, plan)?;
        // Under `route` an adapter begins fresh, whatever the alias began with.
        let start = adapters.start.as_ref().filter(|_| !plan.routed);
        let mut update = self.update(plan, &options)?;
        if let Some(start) = start {
            update.rank = start.0.config.rank;
            update.alpha = start.0.config.alpha;
        }
        let again = Again {
            documents: &documents,
            start,
            update,
            attempts: options.gate.attempts,
            budget: options.gate.retention_budget,
        };
        let grading = measure::grading(&options, self.helpers.judge.as_deref());
        let answering = adapters.answering();
        let learned = relearn(
            &*self.model,
            &forgotten,
            &again,
            &answering,
            grading,
            journal,
        );
        let (report, trained) = learned.map_err(|e| journal.failure(e))?;
        self.remember(cx, &report)?;
        let lineage = UnlearnLineage {
            job: Some(cx.id().to_owned()),
            update: Some(again.update),
            retention: report.retention,
            ..plan.lineage()
        };
        let lora = &trained.adapter.0;
        let version = published(self.registry.publish_relearned(plan, lora, lineage))?;
        let scores = report.retained.iter().filter_map(|probe| {
            let after = probe.after.as_ref()?;
            Some(ProbeScore {
                probe_id: probe.probe.clone(),
                alias: plan.alias.to_string(),
                version: version.number,
                correct: after.correct,
                logprob: Some(f64::from(after.logprob)),
                answer: after.answer.clone(),
            })
        });
        let scores: Vec<ProbeScore> = scores.collect();
        store.probes().record_scores(&scores)?;
        Ok(())
    }

    /// The settings under which the document was learned.
    fn options(&self, store: &Store, plan: &Unlearning) -> Result<IngestOptions, JobFailure> {
        let request = measure::request(store, &plan.document)?;
        let options = self.learning.under(&request, Some(plan.strategy));
        options.map_err(|e| JobFailure::new("invalid_options", e.to_string()))
    }

    /// The settings of the training: those of the adapter that held the document, for a fresh adapter of its size.
    fn update(&self, plan: &Unlearning, options: &IngestOptions) -> Result<Update, JobFailure> {
        let held = plan.responder.version();
        let held = held
            .map(|n| self.registry.version(&plan.alias, n))
            .transpose()?;
        let lineage = held.as_ref().map(Lineage::of).transpose()?;
        let stored = lineage.as_ref().and_then(Lineage::update).cloned();
        // Without a stored update it is not known how the notes were worded; one wording gets more passes.
        let update = stored.unwrap_or_else(|| options.update(false, options.seed));
        Ok(Update {
            kept_ranks: 0,
            ..update
        })
    }

    fn remember(&self, cx: &JobContext, report: &UnlearnReport) -> Result<(), JobFailure> {
        let report = serde_json::to_value(report);
        let report = report.map_err(|e| JobFailure::new("report", e.to_string()))?;
        Ok(cx.remember(REPORT, &report)?)
    }

    /// The job's result, once the document is gone.
    fn ended(&self, cx: &JobContext, id: &str) -> Result<Value, JobFailure> {
        let live = cx.store().aliases().get(&cx.job().alias)?;
        Ok(json!({
            "document": id,
            "live_version": live.and_then(|a| a.live),
            "report": cx.recall(REPORT)?,
        }))
    }
}
