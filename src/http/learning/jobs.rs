//! `/jobs`: the progress of jobs, and requests to cancel, pause or resume a job.

use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::{Query, wait};
use crate::http::common::state::AppState;
use crate::store::{Job, JobError, JobFilter, JobKind, JobState, Page, Progress};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// Default of `limit` for every list.
pub const DEFAULT_LIMIT: usize = 50;
const MOST: usize = 500;

#[derive(Serialize, ToSchema)]
pub struct JobBody {
    pub id: String,
    kind: JobKind,
    /// The adapter that the job works on
    adapter: String,
    pub state: JobState,
    /// A client asked to pause; the running job stops at its next check
    pause_requested: bool,
    /// A client asked to cancel; the running job stops at its next check
    cancel_requested: bool,
    progress: Progress,
    /// Result of a succeeded job
    #[schema(value_type = Option<Object>)]
    result: Option<Value>,
    /// Error of a failed job
    error: Option<JobError>,
    /// 1, plus 1 for every time the process died while the job ran
    attempt: u32,
    created_at: String,
    started_at: Option<String>,
    finished_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct JobPage {
    items: Vec<JobBody>,
    /// The `after` of the next page
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobQuery {
    /// Only this adapter's
    adapter: Option<String>,
    state: Option<JobState>,
    /// The `next` of the page before
    after: Option<String>,
    /// 1 to 500, default 50
    limit: Option<usize>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// Time to wait for the job's end (`500ms`, `30s`, `2m`; ten minutes at most)
    pub wait: Option<String>,
}

/// The answer about a submitted job: 202, or 200 if the client waited and the job has `ended`.
pub fn located(id: &str, ended: bool, body: impl Serialize) -> Response {
    let status = match ended {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    let location = [(header::LOCATION, format!("/jobs/{id}"))];
    (status, location, Json(body)).into_response()
}

/// Whether the client waited and the job has ended.
pub fn has_ended(job: &Job, patience: Option<Duration>) -> bool {
    patience.is_some() && job.state.is_terminal()
}

/// List jobs, the newest first
#[utoipa::path(get, path = "/jobs", tag = "learning", params(JobQuery),
    responses((status = 200, description = "A page of jobs", body = JobPage)))]
pub async fn list_jobs(
    State(state): State<AppState>,
    Query(query): Query<JobQuery>,
) -> Result<Json<JobPage>, Problem> {
    let limit = limit(query.limit)?;
    let alias = query.adapter.as_deref().map(AliasName::parse).transpose()?;
    let list = move |state: &AppState| {
        let filter = JobFilter {
            alias: alias.as_ref().map(AliasName::as_str),
            state: query.state,
        };
        state.jobs.list(filter, query.after.as_deref(), limit)
    };
    let Page { items, next } = state.blocking(list).await?;
    let items = items.into_iter().map(JobBody::from).collect();
    Ok(Json(JobPage { items, next }))
}

/// One job
#[utoipa::path(get, path = "/jobs/{id}", tag = "learning", params(("id" = String, Path), WaitQuery),
    responses((status = 200, description = "The job in its present state", body = JobBody)))]
pub async fn get_job(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<JobBody>, Problem> {
    let job = match query.wait.as_deref().map(wait).transpose()? {
        Some(patience) => state.jobs.wait(&id, patience).await?,
        None => state.blocking(move |state| state.jobs.get(&id)).await?,
    };
    Ok(Json(job.into()))
}

/// Cancel a job; its published versions stay
#[utoipa::path(post, path = "/jobs/{id}/cancel", tag = "learning", params(("id" = String, Path)),
    responses((status = 200, description = "The job", body = JobBody)))]
pub async fn cancel_job(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<JobBody>, Problem> {
    let job = state.blocking(move |state| state.jobs.cancel(&id)).await?;
    Ok(Json(job.into()))
}

/// Pause a job; finished steps are kept, and a running training starts again on resume
#[utoipa::path(post, path = "/jobs/{id}/pause", tag = "learning", params(("id" = String, Path)),
    responses((status = 200, description = "The job", body = JobBody)))]
pub async fn pause_job(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<JobBody>, Problem> {
    let job = state.blocking(move |state| state.jobs.pause(&id)).await?;
    Ok(Json(job.into()))
}

/// Resume a paused job
#[utoipa::path(post, path = "/jobs/{id}/resume", tag = "learning", params(("id" = String, Path)),
    responses((status = 200, description = "The job", body = JobBody)))]
pub async fn resume_job(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<JobBody>, Problem> {
    let job = state.blocking(move |state| state.jobs.resume(&id)).await?;
    Ok(Json(job.into()))
}

/// The checked length of a page.
pub fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(DEFAULT_LIMIT);
    match (1..=MOST).contains(&limit) {
        true => Ok(limit),
        false => Err(Problem::invalid(
            "limit",
            format!("limit is {limit}; it must be from 1 to {MOST}."),
        )),
    }
}

impl From<Job> for JobBody {
    fn from(job: Job) -> Self {
        JobBody {
            id: job.id,
            kind: job.kind,
            adapter: job.alias,
            state: job.state,
            pause_requested: job.pause_requested,
            cancel_requested: job.cancel_requested,
            progress: job.progress,
            result: job.result,
            error: job.error,
            attempt: job.attempt,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
        }
    }
}
