//! Admission of a training job: all checks come before the job is stored.

use super::contexts;
use super::request::TrainRequest;
use super::run::{Settings, TrainInput};
use crate::adapters::AliasName;
use crate::learn::outer::domains::fewshot::FewShotOptions;
use crate::learn::outer::domains::knowledge::KnowledgeOptions;
use crate::learn::outer::options::OuterOptions;
use crate::store::{IdempotencyKey, Job, JobKind};
use crate::workflows::fields::{from_value, object};
use crate::workflows::refusal::Refusal;
use crate::workflows::services::Services;
use serde_json::{Map, Value};

/// Stores the contexts as a blob, then the job that names the blob, together with the idempotency key. Blocks for the
/// disk and the tokenizer.
pub fn submit(
    services: &Services,
    request: TrainRequest,
    key: Option<&IdempotencyKey>,
) -> Result<Job, Refusal> {
    let policy = check_policy(services, &request.policy)?;
    request.check_domain()?;
    let fewshot = request.fewshot.clone();
    let fewshot: Option<Map<String, Value>> =
        fewshot.map(|value| object("fewshot", value)).transpose()?;
    request.check_source()?;
    let mut input = TrainInput {
        domain: request.domain,
        preset: request.preset,
        outer: request.outer(),
        knowledge: request.knowledge(),
        fewshot: fewshot.unwrap_or_default(),
        contexts: String::new(),
        context_count: 0,
        contexts_digest: String::new(),
        dataset: request.dataset.clone(),
    };
    let contexts = contexts::read(services, input.domain, request)?;
    input.context_count = contexts.count;
    input.contexts_digest = contexts.digest;
    check_options(services, &input)?;
    // The guard keeps the blob from a sweep until the job names it.
    let blobs = services.store.blobs().guard();
    input.contexts = blobs.put(&contexts.blob)?;
    let input = serde_json::to_value(&input).map_err(Refusal::internal)?;
    let jobs = &services.jobs;
    Ok(jobs.submit(JobKind::Train, &policy, &input, key)?)
}

fn check_policy(services: &Services, name: &str) -> Result<AliasName, Refusal> {
    const FIELD: &str = "policy";
    let alias = AliasName::parse(name).map_err(|e| Refusal::from(e).field(FIELD))?;
    let known = services.registry.check_name(&alias);
    known.map_err(|e| Refusal::from(e).field(FIELD))?;
    services.registry.check_continues(&alias)?;
    Ok(alias)
}

/// Refuses unknown names and wrong types, then values out of range and contradictory options.
fn check_options(services: &Services, input: &TrainInput) -> Result<(), Refusal> {
    for options in [&input.outer, &input.knowledge] {
        for name in ["policy_training", "self_edit", "training"] {
            // Serde would accept a list as the fields in order.
            if options.get(name).is_some_and(|v| !v.is_object()) {
                return Err(Refusal::invalid(name, format!("{name} is an object.")));
            }
        }
    }
    from_value::<OuterOptions>(Settings::outer(input))?;
    let knowledge = input.knowledge.clone().into();
    let tuned = services.learning.tuned();
    from_value::<KnowledgeOptions>(KnowledgeOptions::merged(input.preset, &tuned, &knowledge))?;
    let fewshot = FewShotOptions::merged(input.preset, &input.fewshot.clone().into());
    from_value::<FewShotOptions>(fewshot).map_err(|refusal| {
        let field = refusal.field.clone().unwrap_or_default();
        refusal.field(format!("fewshot.{field}"))
    })?;
    Settings::of(input, &tuned)?;
    Ok(())
}
