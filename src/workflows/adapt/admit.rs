//! Admission of a task: all checks come before the job is stored.

use super::request::Adapt;
use super::run::AdaptInput;
use crate::adapters::{self, AliasName};
use crate::store::{IdempotencyKey, Job, JobKind};
use crate::workflows::lengths::check_task;
use crate::workflows::refusal::Refusal;
use crate::workflows::services::Services;

/// Stores the job and the idempotency key in one transaction. Blocks for the disk and the tokenizer.
pub fn submit(
    services: &Services,
    adapt: Adapt,
    key: Option<&IdempotencyKey>,
) -> Result<Job, Refusal> {
    let adapter = starting_adapter(services, &adapt)?;
    if let Some(adapter) = &adapter {
        check_adapter(services, adapter)?;
    }
    if let Some(alias) = &adapt.keep {
        check_keep(services, alias, adapter.as_ref())?;
    }
    check_task(services, &adapt.task, adapt.self_edit.as_ref(), "task")?;
    let alias = adapt.keep.unwrap_or_else(AdaptInput::throw_away_name);
    let input = AdaptInput {
        task: adapt.task,
        adapter,
        self_edit: adapt.self_edit,
        options: adapt.options,
        ttl_seconds: adapt.ttl_seconds,
    };
    let input = serde_json::to_value(input).map_err(Refusal::internal)?;
    let jobs = &services.jobs;
    Ok(jobs.submit(JobKind::Adapt, &alias, &input, key)?)
}

/// The adapter to start from: the named one, else the adapter under the kept name if it may be continued and is live.
fn starting_adapter(services: &Services, adapt: &Adapt) -> Result<Option<AliasName>, Refusal> {
    match (&adapt.adapter, &adapt.keep) {
        (None, Some(kept)) if adapt.continue_kept && is_live(services, kept)? => {
            Ok(Some(kept.clone()))
        }
        (named, _) => Ok(named.clone()),
    }
}

/// Refuses a starting adapter that is the base or not live.
fn check_adapter(services: &Services, adapter: &AliasName) -> Result<(), Refusal> {
    services.registry.check_name(adapter)?;
    match services.registry.resolve(adapter.as_str()) {
        Ok(_) => Ok(services.registry.check_continues(adapter)?),
        Err(adapters::Error::Unknown { .. }) => {
            let detail = format!("There is no adapter '{adapter}' to start from.");
            Err(Refusal::not_found("adapter_not_found", detail).field("adapter"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Refuses to keep the adapter under a live alias that is not trained further: the alias would lose its knowledge.
fn check_keep(
    services: &Services,
    alias: &AliasName,
    adapter: Option<&AliasName>,
) -> Result<(), Refusal> {
    let name = services.registry.check_name(alias);
    name.map_err(|e| Refusal::from(e).field("keep.alias"))?;
    if is_live(services, alias)? && adapter != Some(alias) {
        let detail = format!(
            "There is an adapter '{alias}' already: send \"adapter\": \"{alias}\" to train it further, or \
             choose another name."
        );
        return Err(Refusal::conflict("adapter_exists", detail).field("keep.alias"));
    }
    Ok(())
}

fn is_live(services: &Services, alias: &AliasName) -> Result<bool, Refusal> {
    let live = services.store.aliases().live_version(alias.as_str())?;
    Ok(live.is_some())
}
