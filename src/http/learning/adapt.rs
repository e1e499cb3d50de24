//! `POST /adapt`: a task with a few examples in, predictions and an adapter out.

use super::adapt_body::{self, Adapt, AdaptRequest};
use super::ingest::idempotency_key;
use super::jobs::{JobBody, located};
use crate::adapters::{self, AliasName};
use crate::http::common::error::Problem;
use crate::http::common::extract::{Body, Query, json_only, wait};
use crate::http::common::state::AppState;
use crate::learn::fewshot::self_edit::{self, EDIT_TOKENS};
use crate::learn::fewshot::{SelfEdit, Task};
use crate::learn::ports::model::Prompt;
use crate::pool::LocalModel;
use crate::store::{IdempotencyKey, Job, JobKind};
use crate::workflows::adapt::run::{AdaptInput, AdaptResult};
use autodidact_engine::Priority;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AdaptQuery {
    /// Wait so long (`500ms`, `30s`, `2m`; ten minutes at most) for the job's end
    wait: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct AdaptResponse {
    pub job: JobBody,
    /// The `model` to ask once the job has succeeded
    pub adapter: String,
    /// Predictions and how they came about, once the job has succeeded
    pub result: Option<AdaptResult>,
}

/// Adapt to one task from a few examples
///
/// The model chooses its own augmentations and training settings, trains a throw-away adapter on the
/// demonstrations, and answers the test inputs: two attempts each. The same `Idempotency-Key` with the same
/// request answers with the same job.
#[utoipa::path(post, path = "/adapt", tag = "learning",
    params(AdaptQuery, ("Idempotency-Key" = Option<String>, Header, description = "Yours, unique for this request")),
    request_body = AdaptRequest,
    responses(
        (status = 202, description = "The job that does it, at Location", body = AdaptResponse),
        (status = 200, description = "With ?wait=: the job has ended", body = AdaptResponse)))]
pub async fn adapt(
    State(state): State<AppState>,
    Query(query): Query<AdaptQuery>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let patience = query.wait.as_deref().map(wait).transpose()?;
    json_only(&headers)?;
    let key = idempotency_key(&headers, &json!("adapt"), &body)?;
    let submit = move |state: &AppState| submit(state, adapt_body::read(&body)?, key.as_ref());
    let mut job = state.blocking(submit).await?;
    if let Some(patience) = patience {
        job = state.jobs.wait(&job.id, patience).await?;
    }
    let (id, ended) = (
        job.id.clone(),
        patience.is_some() && job.state.is_terminal(),
    );
    Ok(located(&id, ended, respond(job)))
}

/// The job as `/adapt` answers it: what it came to once, and in its own shape.
pub fn respond(mut job: Job) -> AdaptResponse {
    let result = job.result.take();
    AdaptResponse {
        adapter: job.alias.clone(),
        result: result.and_then(|value| serde_json::from_value(value).ok()),
        job: job.into(),
    }
}

/// Everything is checked before anything is stored.
pub fn submit(
    state: &AppState,
    adapt: Adapt,
    key: Option<&IdempotencyKey>,
) -> Result<Job, Problem> {
    if let Some(adapter) = &adapt.adapter {
        exists(state, adapter)?;
    }
    if let Some(alias) = &adapt.keep {
        may_keep(state, alias, adapt.adapter.as_ref())?;
    }
    check_length(state, &adapt.task, adapt.self_edit.as_ref())?;
    let alias = adapt.keep.unwrap_or_else(AdaptInput::throw_away_name);
    let input = AdaptInput {
        task: adapt.task,
        adapter: adapt.adapter,
        self_edit: adapt.self_edit,
        options: adapt.options,
        ttl_seconds: adapt.ttl_seconds,
    };
    let input = serde_json::to_value(input).map_err(Problem::internal)?;
    Ok(state
        .jobs
        .submit(JobKind::Adapt, &alias, &input, &[], key)?)
}

/// The adapter to start from has to be live, and not the base.
fn exists(state: &AppState, adapter: &AliasName) -> Result<(), Problem> {
    state.registry.check_name(adapter)?;
    match state.registry.resolve(adapter.as_str()) {
        Ok(_) => Ok(()),
        Err(adapters::Error::Unknown { .. }) => {
            let detail = format!("There is no adapter '{adapter}' to start from.");
            Err(Problem::not_found("adapter_not_found", detail).field("adapter"))
        }
        Err(error) => Err(error.into()),
    }
}

/// An alias that holds something else would lose it from its live version.
fn may_keep(
    state: &AppState,
    alias: &AliasName,
    adapter: Option<&AliasName>,
) -> Result<(), Problem> {
    let checked = state.registry.check_name(alias).map_err(Problem::from);
    checked.map_err(|problem| problem.field("keep.alias"))?;
    let known = state.store.aliases().live_version(alias.as_str())?;
    if known.is_some() && adapter != Some(alias) {
        let detail = format!(
            "There is an adapter '{alias}' already: send \"adapter\": \"{alias}\" to train it further, or \
             choose another name."
        );
        return Err(Problem::conflict("adapter_exists", detail).field("keep.alias"));
    }
    Ok(())
}

/// 400 with both figures, unless every prompt fits the window with its answer. Without a configuration
/// there is one more prompt: for writing it.
pub fn check_length(
    state: &AppState,
    task: &Task,
    given: Option<&SelfEdit>,
) -> Result<(), Problem> {
    let window = state.engine.window();
    let model = LocalModel::new(state.engine.clone(), Priority::Ingest);
    let mut longest = 0;
    for n in 0..task.test_len() {
        let prompt = model.prompt_tokens(&task.plain_question(n))?;
        longest = longest.max(prompt.len() + task.longest_answer());
    }
    // The longest training sequence, and what the configurations are written from.
    let examples = task.demonstrations();
    let examples = examples.into_iter().map(|t| (t.user, t.assistant));
    let trained = Prompt {
        examples: examples.collect(),
        ..Default::default()
    };
    longest = longest.max(model.prompt_tokens(&trained)?.len());
    if given.is_none() {
        let prompt = model.prompt_tokens(&self_edit::prompt(task))?;
        longest = longest.max(prompt.len() + EDIT_TOKENS);
    }
    if longest > window {
        let detail = format!(
            "The demonstrations, an input and its answer need {longest} tokens; the context window has \
             {window}. Send fewer or shorter demonstrations."
        );
        return Err(Problem::bad_request("context_length_exceeded", detail).field("task"));
    }
    Ok(())
}
