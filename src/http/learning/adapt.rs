//! `POST /adapt`: learns a task from a few examples, and answers with predictions and an adapter.

use super::jobs::{JobBody, has_ended, located};
use crate::http::common::error::Problem;
use crate::http::common::extract::{Body, Query, idempotency_key, json_only, wait};
use crate::http::common::state::AppState;
use crate::store::Job;
use crate::workflows::adapt::admit;
use crate::workflows::adapt::request::AdaptRequest;
use crate::workflows::adapt::run::AdaptResult;
use crate::workflows::fields;
use crate::workflows::refusal::Refusal;
use crate::workflows::services::Services;
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
    /// Time to wait for the job's end (`500ms`, `30s`, `2m`; ten minutes at most)
    wait: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct AdaptResponse {
    job: JobBody,
    /// The `model` to ask after the job has succeeded
    adapter: String,
    /// Predictions with the report of the adaptation, after the job has succeeded
    result: Option<AdaptResult>,
}

/// Adapt to one task from a few examples
///
/// The model chooses its own augmentations and training settings, trains a throw-away adapter on the
/// demonstrations, and answers the test inputs with two attempts each. The same request with the same
/// `Idempotency-Key` returns the same job.
#[utoipa::path(post, path = "/adapt", tag = "learning",
    params(AdaptQuery, ("Idempotency-Key" = Option<String>, Header, description = "A key of your choice, unique for this request")),
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
    let submit = move |services: &Services| {
        let adapt = fields::parse::<AdaptRequest>(&body)?.check()?;
        admit::submit(services, adapt, key.as_ref())
    };
    let job = state.submit_and_wait::<Refusal>(submit, patience).await?;
    let (id, ended) = (job.id.clone(), has_ended(&job, patience));
    Ok(located(&id, ended, AdaptResponse::try_from(job)?))
}

/// Moves the job's result into the field `result` of the answer.
impl TryFrom<Job> for AdaptResponse {
    type Error = Problem;

    fn try_from(mut job: Job) -> Result<Self, Problem> {
        let result = job.result.take().map(serde_json::from_value).transpose();
        let unreadable = |e| Problem::internal(format!("the result of {}: {e}", job.id));
        Ok(AdaptResponse {
            adapter: job.alias.clone(),
            result: result.map_err(unreadable)?,
            job: job.into(),
        })
    }
}
