//! `POST /ingest`: learns documents in a job. The answer is read from the store, so a repeated request gets the job
//! and the documents of the first one.

use super::ingest_body::{self, IngestQuery};
use super::jobs::{JobBody, has_ended, located};
use crate::http::common::error::Problem;
use crate::http::common::extract::{Body, Query, idempotency_key, media_type, wait};
use crate::http::common::form;
use crate::http::common::state::AppState;
use crate::jobs::Accepted;
use crate::question::Question;
use crate::store::{self, Document, DocumentState};
use crate::workflows::ingest::admit;
use crate::workflows::ingest::request::IngestRequest;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct IngestResponse {
    /// The job that learns them. If all documents are known: the job that learns or learned them
    job: JobBody,
    /// The documents in the order of the request
    documents: Vec<IngestedDocument>,
}

#[derive(Serialize, ToSchema)]
struct IngestedDocument {
    id: String,
    title: String,
    state: DocumentState,
    /// The version of the adapter that learned the document
    version: Option<u64>,
    external_id: Option<String>,
    /// SHA-256 of title and text, in Unicode's form NFC and with single spaces
    digest: String,
    /// Whether the document was known, so that it is not learned again (send `again` to do so)
    known: bool,
    /// The document that this one replaces when it is learned
    replaces: Option<String>,
    /// The job that learns or learned the document
    job_id: String,
    /// What the answer leaves out of the request, if anything
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
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
///
/// A document with the text of one that is learned or waits is known and not learned again. A newer text of a document
/// replaces it once it is learned: the newest document with the same `external_id`, or else with the same title and a
/// text alike.
#[utoipa::path(post, path = "/ingest", tag = "learning",
    params(IngestQuery, ("Idempotency-Key" = Option<String>, Header, description = "A key of your choice, unique for this request")),
    request_body(content(
        (IngestRequest = "application/json"), (String = "text/plain"), (String = "text/markdown"),
        (String = "text/html"), (Vec<u8> = "application/pdf"),
        (Vec<u8> = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (String = "application/x-ndjson"), (IngestForm = "multipart/form-data"))),
    responses(
        (status = 202, description = "The job that learns them, at Location", body = IngestResponse),
        (status = 200, description = "All documents are known, or with ?wait=: the job has ended", body = IngestResponse)))]
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
    let submit = move |state: &AppState| -> Result<Submitted, Problem> {
        let ingest = match &form {
            Some(form) => ingest_body::read_form(&query, form)?,
            None => ingest_body::read(&headers, &query, &body)?,
        };
        let brought = ingest.documents.iter();
        let brought = brought.map(|d| (d.questions.clone(), d.metadata.clone()));
        let brought = brought.collect();
        let accepted = admit::submit(state, &ingest, key.as_ref())?;
        Ok(Submitted { accepted, brought })
    };
    let submitted = state.blocking(submit).await?;
    let mut job = submitted.accepted.job.clone();
    if let Some(patience) = patience {
        job = state.jobs.wait(&job.id, patience).await?;
    }
    let ended = submitted.accepted.all_known || has_ended(&job, patience);
    let documents = state.blocking(move |s| documents(s, &submitted)).await?;
    let id = job.id.clone();
    let body = IngestResponse {
        job: job.into(),
        documents,
    };
    Ok(located(&id, ended, body))
}

/// An admitted request, with the questions and the metadata that it brought for each document.
struct Submitted {
    accepted: Accepted,
    brought: Vec<(Vec<Question>, Value)>,
}

/// The documents as they stand now. A document that was deleted meanwhile is left out.
fn documents(
    state: &AppState,
    submitted: &Submitted,
) -> Result<Vec<IngestedDocument>, store::Error> {
    let mut shown = Vec::new();
    for (posted, brought) in submitted.accepted.posted.iter().zip(&submitted.brought) {
        let Some(document) = state.store.documents().get(&posted.id)? else {
            continue;
        };
        let note = match posted.known {
            true => unused(&document, brought),
            false => None,
        };
        shown.push(IngestedDocument::new(document, posted.known, note));
    }
    Ok(shown)
}

/// What a request brought for a known document and the stored document has otherwise.
fn unused(document: &Document, (questions, metadata): &(Vec<Question>, Value)) -> Option<String> {
    let other_questions = !questions.is_empty() && document.questions != *questions;
    let is_empty = metadata.as_object().is_none_or(Map::is_empty);
    let other_metadata = !is_empty && document.metadata != *metadata;
    let what = match (other_questions, other_metadata) {
        (true, true) => "questions and metadata",
        (true, false) => "questions",
        (false, true) => "metadata",
        (false, false) => return None,
    };
    Some(format!(
        "The document is known. Its {what} in this request are not used; send \"again\": true to learn it again with \
         them."
    ))
}

impl IngestedDocument {
    fn new(document: Document, known: bool, note: Option<String>) -> Self {
        IngestedDocument {
            id: document.id,
            title: document.title,
            state: document.state,
            version: document.version,
            external_id: document.external_id,
            digest: document.digest,
            known,
            replaces: document.replaces,
            job_id: document.job_id,
            note,
        }
    }
}
