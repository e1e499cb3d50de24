//! `POST /train`: practises on contexts in a job.

use super::jobs::{JobBody, located};
use crate::http::common::error::Problem;
use crate::http::common::extract::{Body, idempotency_key, json_only};
use crate::http::common::state::AppState;
use crate::workflows::fields;
use crate::workflows::refusal::Refusal;
use crate::workflows::services::Services;
use crate::workflows::train::admit;
use crate::workflows::train::request::TrainRequest;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct TrainResponse {
    job: JobBody,
}

/// Teach an adapter to write better study notes
///
/// The same request with the same `Idempotency-Key` returns the same job.
#[utoipa::path(post, path = "/train", tag = "learning",
    params(("Idempotency-Key" = Option<String>, Header, description = "A key of your choice, unique for this request")),
    request_body = TrainRequest,
    responses((status = 202, description = "The job that practises, at Location", body = TrainResponse)))]
pub async fn train(
    State(state): State<AppState>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    json_only(&headers)?;
    let key = idempotency_key(&headers, &json!("train"), &body)?;
    let submit = move |services: &Services| {
        let request: TrainRequest = fields::parse(&body)?;
        admit::submit(services, request, key.as_ref())
    };
    let job = state.submit_and_wait::<Refusal>(submit, None).await?;
    let id = job.id.clone();
    Ok(located(&id, false, TrainResponse { job: job.into() }))
}
