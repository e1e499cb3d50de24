//! `POST /ingest`: learns documents in a job. The answer is read from the store, so a repeated request gets the job
//! and the documents of the first one.

use super::ingest_body::{self, IngestQuery};
use super::jobs::{JobBody, has_ended, located};
use crate::http::common::error::Problem;
use crate::http::common::extract::{Body, Query, idempotency_key, wait};
use crate::http::common::state::AppState;
use crate::store::{Document, DocumentState};
use crate::workflows::ingest::admit;
use crate::workflows::ingest::request::IngestRequest;
use crate::workflows::services::Services;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct IngestResponse {
    job: JobBody,
    documents: Vec<IngestedDocument>,
}

#[derive(Serialize, ToSchema)]
struct IngestedDocument {
    id: String,
    title: String,
    state: DocumentState,
    /// The version of the adapter that learned the document
    version: Option<u64>,
}

/// Learn documents
///
/// With `?adapter=` the body may also be `text/plain`, `text/markdown` or `application/x-ndjson` (a document a
/// line). The same request with the same `Idempotency-Key` returns the same job.
#[utoipa::path(post, path = "/ingest", tag = "learning",
    params(IngestQuery, ("Idempotency-Key" = Option<String>, Header, description = "A key of your choice, unique for this request")),
    request_body(content(
        (IngestRequest = "application/json"), (String = "text/plain"), (String = "text/markdown"),
        (String = "application/x-ndjson"))),
    responses(
        (status = 202, description = "The job that learns them, at Location", body = IngestResponse),
        (status = 200, description = "With ?wait=: the job has ended", body = IngestResponse)))]
pub async fn ingest(
    State(state): State<AppState>,
    Query(query): Query<IngestQuery>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let patience = query.wait.as_deref().map(wait).transpose()?;
    let about = json!([query.adapter, query.title]);
    let key = idempotency_key(&headers, &about, &body)?;
    let submit = move |services: &Services| {
        let ingest = ingest_body::read(&headers, &query, &body)?;
        Ok::<_, Problem>(admit::submit(services, &ingest, key.as_ref())?)
    };
    let job = state.submit_and_wait(submit, patience).await?;
    let id = job.id.clone();
    let documents = state
        .blocking(move |s| s.store.documents().for_job(&id))
        .await?;
    let (id, ended) = (job.id.clone(), has_ended(&job, patience));
    let body = IngestResponse {
        job: job.into(),
        documents: documents.into_iter().map(IngestedDocument::from).collect(),
    };
    Ok(located(&id, ended, body))
}

impl From<Document> for IngestedDocument {
    fn from(document: Document) -> Self {
        IngestedDocument {
            id: document.id,
            title: document.title,
            state: document.state,
            version: document.version,
        }
    }
}
