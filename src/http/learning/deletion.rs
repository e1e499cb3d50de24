//! `DELETE /documents/{id}`: a document is unlearned, at once or by a job.

use super::jobs::{JobBody, WaitQuery, has_ended, located};
use crate::http::common::error::Problem;
use crate::http::common::extract::{Query, wait};
use crate::http::common::state::AppState;
use crate::learn::inner::unlearn::UnlearnReport;
use crate::workflows::unlearn::admit::{Deletion, delete};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct DeletionBody {
    /// The document's id
    id: String,
    adapter: String,
    /// Whether the document is gone
    deleted: bool,
    /// The live version of the adapter: after the deletion, the one without the document
    live_version: Option<u64>,
    /// What is left of the document; none while the job runs, or if the live version did not know the document
    #[schema(value_type = Option<UnlearnReport>)]
    report: Option<Value>,
    /// The job that learns the other documents of its adapter again
    job: Option<JobBody>,
    /// Estimated running time of the job in seconds
    estimate_seconds: Option<f32>,
}

/// Unlearn a document
///
/// The document's adapter leaves, a version of the adapter without it is published, and the versions that hold the
/// document are deleted with their bytes. Where an adapter learned several documents, a job learns the others again
/// from the base with their stored study notes; the document is deleted when that version is published.
#[utoipa::path(delete, path = "/documents/{id}", tag = "learning", params(("id" = String, Path), WaitQuery),
    responses(
        (status = 200, description = "Deleted", body = DeletionBody),
        (status = 202, description = "The job that does it, at Location", body = DeletionBody)))]
pub async fn delete_document(
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, Problem> {
    let patience = query.wait.as_deref().map(wait).transpose()?;
    let document = id.clone();
    let deletion = state
        .blocking(move |state| delete(state, &document))
        .await?;
    let (mut job, estimate_seconds) = match deletion {
        Deletion::Done {
            alias,
            live,
            report,
        } => {
            let report = report.map(serde_json::to_value).transpose();
            return Ok(Json(DeletionBody {
                id,
                adapter: alias,
                deleted: true,
                live_version: live,
                report: report.map_err(Problem::internal)?,
                job: None,
                estimate_seconds: None,
            })
            .into_response());
        }
        Deletion::Job {
            job,
            estimate_seconds,
        } => (job, estimate_seconds),
    };
    if let Some(patience) = patience {
        job = state.jobs.wait(&job.id, patience).await?;
    }
    let (job_id, ended) = (job.id.clone(), has_ended(&job, patience));
    let result = job.result.clone().unwrap_or_default();
    let body = DeletionBody {
        id,
        adapter: job.alias.clone(),
        deleted: !result.is_null(),
        live_version: result["live_version"].as_u64(),
        report: result.get("report").cloned(),
        job: Some(job.into()),
        estimate_seconds,
    };
    Ok(located(&job_id, ended, body))
}
