//! The deletion of a document: at once where nothing is to be trained and no judge to be asked, else as a job.

use super::measure::{self, Adapters};
use crate::adapters::{self, Unlearning};
use crate::learn::grading::grader::Grader;
use crate::learn::inner::replay::Earlier;
use crate::learn::inner::unlearn::UnlearnReport;
use crate::learn::options::update::IngestOptions;
use crate::pool::LocalModel;
use crate::store::{self, Document, DocumentState, Job};
use crate::workflows::refusal::Refusal;
use crate::workflows::services::Services;
use autodidact_engine::Priority;
use serde_json::json;

/// How often a deletion is tried while others move the alias.
const TRIES: usize = 8;

/// The outcome of a request to delete a document.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Deletion {
    Done {
        alias: String,
        /// The live version afterwards.
        live: Option<u64>,
        /// What is left of the document; `None` if the live version did not know it.
        report: Option<UnlearnReport>,
    },
    /// A job learns the other documents of its adapter again, or asks a judge what is left of this one.
    Job {
        job: Job,
        /// Estimated running time, if earlier trainings tell.
        estimate_seconds: Option<f32>,
    },
}

/// Deletes the document, or submits the job that does. Blocks for the disk and the model.
pub fn delete(services: &Services, id: &str) -> Result<Deletion, Refusal> {
    let mut tries = 1;
    loop {
        let document = services.store.documents().get(id)?.ok_or_else(|| {
            Refusal::not_found(
                "document_not_found",
                format!("There is no document `{id}`."),
            )
        })?;
        if matches!(
            document.state,
            DocumentState::Queued | DocumentState::Learning
        ) {
            let detail = format!(
                "Document {id} is {} by job {}: cancel the job first (POST /jobs/{}/cancel).",
                match document.state {
                    DocumentState::Queued => "waiting to be learned",
                    _ => "being learned",
                },
                document.job_id,
                document.job_id
            );
            return Err(Refusal::conflict("document_busy", detail));
        }
        let plan = services.registry.plan_unlearning(&document)?;
        let request = measure::request(&services.store, &document)?;
        let options = services.learning.under(&request, Some(plan.strategy))?;
        // Only a job asks a judge.
        let asks_judge = plan.in_force && options.gate.grader == Grader::Judge;
        if !plan.to_train().is_empty() || asks_judge {
            return submit(services, &plan);
        }
        match leave(services, &plan, &options) {
            Err(adapters::Error::Store(store::Error::Conflict { .. })) if tries < TRIES => {
                tries += 1;
            }
            other => return Ok(other?),
        }
    }
}

fn leave(
    services: &Services,
    plan: &Unlearning,
    options: &IngestOptions,
) -> adapters::Result<Deletion> {
    let registry = &services.registry;
    // The adapter and the questions are gone afterwards.
    let asked = match plan.in_force {
        true => Some((
            Adapters::load(registry, plan)?,
            measure::earlier(&services.store, &plan.document)?,
        )),
        false => None,
    };
    let live = registry.leave(plan)?;
    let report = asked.and_then(|(adapters, forgotten)| {
        match left(services, plan, &adapters, &forgotten, options) {
            Ok(report) => Some(report),
            // The document is deleted, whether or not the model can be asked about it.
            Err(error) => {
                tracing::warn!(document = plan.document.id, %error, "what is left of it is not known");
                None
            }
        }
    });
    Ok(Deletion::Done {
        alias: plan.alias.to_string(),
        live,
        report,
    })
}

fn left(
    services: &Services,
    plan: &Unlearning,
    adapters: &Adapters,
    forgotten: &Earlier,
    options: &IngestOptions,
) -> Result<UnlearnReport, String> {
    let remaining = plan.remaining.iter();
    let remaining: Result<Vec<_>, store::Error> = remaining
        .map(|(document, _)| measure::earlier(&services.store, document))
        .collect();
    let remaining = remaining.map_err(|e| e.to_string())?;
    let model = LocalModel::new(services.engine.clone(), Priority::Ingest);
    let documents = (forgotten, remaining.as_slice());
    let report = measure::left(
        &model,
        &services.registry,
        plan,
        adapters,
        documents,
        measure::grading(options, None),
    );
    report.map_err(|e| e.to_string())
}

fn submit(services: &Services, plan: &Unlearning) -> Result<Deletion, Refusal> {
    let estimate_seconds = estimate(plan.to_train())?;
    let input = json!({"document": plan.document.id});
    let jobs = &services.jobs;
    let job = jobs.submit_unlearning(&plan.alias, &input, estimate_seconds)?;
    Ok(Deletion::Job {
        job,
        estimate_seconds,
    })
}

/// Seconds that learning the documents again is likely to take: those of one training of each, with its questions.
fn estimate(documents: Vec<&Document>) -> Result<Option<f32>, store::Error> {
    let mut seconds = None;
    for document in documents {
        let Some(report) = adapters::records::report(document)? else {
            continue;
        };
        let trainings = report.trainings().max(1) as f32;
        let of = |stage: &str| report.seconds.get(stage).copied().unwrap_or(0.0);
        let each = (of("training") + of("after")) / trainings + of("before");
        *seconds.get_or_insert(0.0) += each;
    }
    Ok(seconds)
}
