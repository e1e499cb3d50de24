//! `POST /ingest`: learns documents in a job. The answer is read from the store, so a repeated request gets the job
//! and the documents of the first one.

use super::ingest_body::{self, IngestQuery};
use super::jobs::{JobBody, has_ended, located};
use crate::http::common::error::Problem;
use crate::http::common::extract::{Body, Query, idempotency_key, media_type, wait};
use crate::http::common::form;
use crate::http::common::state::AppState;
use crate::store::{Document, DocumentState};
use crate::workflows::ingest::admit;
use crate::workflows::ingest::request::IngestRequest;
use crate::workflows::services::Services;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
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

/// A form with files.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it only describes the form")]
struct IngestForm {
    /// The adapter to teach, unless the query names it
    adapter: Option<String>,
    /// The title of a single file
    title: Option<String>,
    /// Plain text, Markdown, HTML, PDF or DOCX each
    #[schema(format = Binary)]
    file: Vec<String>,
}

/// Learn documents
///
/// With `?adapter=` the body may also be a document as a file has it (plain text, Markdown, HTML, PDF or DOCX),
/// `application/x-ndjson` (a document a line), or a form with files in fields of the name `file`. The same request with
/// the same `Idempotency-Key` returns the same job.
#[utoipa::path(post, path = "/ingest", tag = "learning",
    params(IngestQuery, ("Idempotency-Key" = Option<String>, Header, description = "A key of your choice, unique for this request")),
    request_body(content(
        (IngestRequest = "application/json"), (String = "text/plain"), (String = "text/markdown"),
        (String = "text/html"), (Vec<u8> = "application/pdf"),
        (Vec<u8> = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (String = "application/x-ndjson"), (IngestForm = "multipart/form-data"))),
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
    let form = match media_type(&headers).as_deref() {
        Some(form::MEDIA_TYPE) => Some(form::fields(&headers, body.clone()).await?),
        _ => None,
    };
    let about = ingest_body::about(&query, form.as_deref());
    let told: &[u8] = if form.is_some() { &[] } else { &body };
    let key = idempotency_key(&headers, &about, told)?;
    let submit = move |services: &Services| {
        let ingest = match &form {
            Some(form) => ingest_body::read_form(&query, form)?,
            None => ingest_body::read(&headers, &query, &body)?,
        };
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
