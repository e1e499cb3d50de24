//! Admission of documents: all checks come before the job is stored.

use super::request::Ingest;
use super::run::made_by;
use crate::adapters;
use crate::jobs::Accepted;
use crate::learn::options::strategy::Method;
use crate::learn::options::update::IngestOptions;
use crate::store::IdempotencyKey;
use crate::workflows::lengths::check_documents;
use crate::workflows::refusal::Refusal;
use crate::workflows::services::Services;
use serde_json::{Value, json};

/// Stores the job, its documents and the idempotency key in one transaction, unless every document is known. Blocks for
/// the disk and the tokenizer.
pub fn submit(
    services: &Services,
    ingest: &Ingest,
    key: Option<&IdempotencyKey>,
) -> Result<Accepted, Refusal> {
    check_count(services, ingest)?;
    services.registry.check_name(&ingest.alias)?;
    services.registry.check_continues(&ingest.alias)?;
    let method = check_options(services, ingest)?.training.method;
    let parts = check_documents(services, &ingest.documents, "documents")?;
    if method == Method::Distill {
        check_whole(&parts)?;
    }
    let ids: Vec<&str> = ingest.documents.iter().map(|d| d.id.as_str()).collect();
    let mut input = ingest.options.clone();
    input.insert("documents".to_owned(), json!(ids));
    let input = Value::Object(input);
    let (alias, documents) = (&ingest.alias, &ingest.documents);
    let jobs = &services.jobs;
    Ok(jobs.submit_documents(alias, &input, documents, key)?)
}

fn check_count(services: &Services, ingest: &Ingest) -> Result<(), Refusal> {
    let most = services.config.limits.documents_per_request;
    let detail = match ingest.documents.len() {
        0 => "There is no document.".to_owned(),
        n if n > most => {
            format!("{n} documents are more than the {most} that one request may bring.")
        }
        _ => return Ok(()),
    };
    Err(Refusal::invalid("documents", detail))
}

/// Checks the options together with the options of the server and of the alias. A named teacher, judge or policy must
/// exist.
fn check_options(services: &Services, ingest: &Ingest) -> Result<IngestOptions, Refusal> {
    let config = &services.config;
    let live = services.store.aliases().get(ingest.alias.as_str())?;
    let made_by = made_by(&services.store, &ingest.alias, live.and_then(|a| a.live))?;
    let request = Value::Object(ingest.options.clone());
    let options = services.learning.under(&request, made_by)?;
    options.check_helpers(config.teacher.is_some(), config.judge.is_some())?;
    if let Some(policy) = &options.self_edit.policy {
        check_policy(services, policy)?
    }
    Ok(options)
}

/// Refuses documents in parts: distillation has the whole document in the prompt.
fn check_whole(parts: &[usize]) -> Result<(), Refusal> {
    for (nth, &parts) in parts.iter().enumerate() {
        if parts > 1 {
            let detail = format!(
                "documents[{nth}].text is learned in {parts} parts, and method \"distill\" needs the whole \
                 document in the prompt; leave the method out, or send the parts as documents."
            );
            return Err(Refusal::invalid("training.method", detail));
        }
    }
    Ok(())
}

fn check_policy(services: &Services, policy: &str) -> Result<(), Refusal> {
    const FIELD: &str = "self_edit.policy";
    match services.registry.resolve(policy) {
        Ok(_) => Ok(()),
        Err(adapters::Error::Unknown { .. }) => {
            let detail = format!(
                "There is no adapter {policy:?} to write with; /adapters lists those there are, \
                 /adapters/NAME/versions the versions of one."
            );
            Err(Refusal::invalid(FIELD, detail))
        }
        Err(error) => Err(Refusal::from(error).field(FIELD)),
    }
}
