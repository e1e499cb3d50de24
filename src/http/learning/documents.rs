//! `/documents`: posted documents, each with the report of its learning.

use super::jobs::limit;
use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::Query;
use crate::http::common::state::AppState;
use crate::learn::inner::report::Report;
use crate::question::Question;
use crate::store::{
    Document, DocumentFilter, DocumentState, DocumentSummary, Page, Probe, ProbeOrigin,
    without_format,
};
use crate::workflows::lengths;
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

#[derive(Serialize, ToSchema)]
pub struct DocumentBody {
    id: String,
    adapter: String,
    /// Your own name of the document
    external_id: Option<String>,
    /// SHA-256 of title and text, in Unicode's form NFC and with single spaces
    digest: String,
    /// The document that this one replaces, or was to replace if it was not learned
    replaces: Option<String>,
    /// The document with a newer text that took this one's place in the live version
    replaced_by: Option<String>,
    title: String,
    text: String,
    /// The parts that a long document is learned in; one for a short document
    parts: Vec<PartBody>,
    #[schema(value_type = Object)]
    metadata: Value,
    /// The client's questions. The report has the questions that the model wrote
    questions: Vec<Question>,
    state: DocumentState,
    job_id: String,
    /// The version of the adapter that learned the document
    version: Option<u64>,
    /// The questions that this document is guarded by, and those that a newer text retired
    probes: Vec<DocumentProbe>,
    /// Self-edits, training sequences, probes, scores and decision. The report grows while the document is learned
    #[schema(value_type = Option<Report>)]
    report: Option<Value>,
    created_at: String,
    updated_at: String,
}

/// A stored question about a document.
#[derive(Serialize, ToSchema)]
pub struct DocumentProbe {
    id: String,
    question: String,
    answer: String,
    origin: ProbeOrigin,
    /// Why the question is not asked any more, if a newer text contradicts its answer or is silent
    retired: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct PartBody {
    /// The document's title with those of the headings above the part: `Manual > Safety > Fuses`
    title: String,
    /// Size of its text in characters
    characters: usize,
    /// Size of its text in tokens of the base
    tokens: usize,
}

#[derive(Serialize, ToSchema)]
pub struct DocumentItem {
    id: String,
    adapter: String,
    external_id: Option<String>,
    digest: String,
    replaces: Option<String>,
    replaced_by: Option<String>,
    title: String,
    state: DocumentState,
    version: Option<u64>,
    /// Share of the document's questions answered right closed book before the update, 0 to 1
    score_before: Option<f64>,
    /// The same share after the update, 0 to 1
    score_after: Option<f64>,
    job_id: String,
    created_at: String,
}

#[derive(Serialize, ToSchema)]
pub struct DocumentPage {
    items: Vec<DocumentItem>,
    /// The `after` of the next page
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DocumentQuery {
    /// Only this adapter's
    adapter: Option<String>,
    /// Only those with this name
    external_id: Option<String>,
    state: Option<DocumentState>,
    /// The `next` of the page before
    after: Option<String>,
    /// 1 to 500, default 50
    limit: Option<usize>,
}

/// List documents, the newest first
#[utoipa::path(get, path = "/documents", tag = "learning", params(DocumentQuery),
    responses((status = 200, description = "A page of documents", body = DocumentPage)))]
pub async fn list_documents(
    State(state): State<AppState>,
    Query(query): Query<DocumentQuery>,
) -> Result<Json<DocumentPage>, Problem> {
    let limit = limit(query.limit)?;
    let alias = query.adapter.as_deref().map(AliasName::parse).transpose()?;
    let list = move |state: &AppState| {
        let filter = DocumentFilter {
            alias: alias.as_ref().map(AliasName::as_str),
            external_id: query.external_id.as_deref(),
            state: query.state,
        };
        let documents = state.store.documents();
        documents.list(filter, query.after.as_deref(), limit)
    };
    let Page { items, next } = state.blocking(list).await?;
    let items = items.into_iter().map(DocumentItem::from).collect();
    Ok(Json(DocumentPage { items, next }))
}

/// One document, with its report
#[utoipa::path(get, path = "/documents/{id}", tag = "learning", params(("id" = String, Path)),
    responses((status = 200, description = "The document", body = DocumentBody)))]
pub async fn get_document(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<DocumentBody>, Problem> {
    let read = move |s: &AppState| -> Result<DocumentBody, Problem> {
        let document = s.store.documents().get(&id)?;
        let document = document.ok_or_else(|| not_found(&id))?;
        let probes = s.store.probes().for_document(&id)?;
        Ok(DocumentBody::new(s, document, probes))
    };
    Ok(Json(state.blocking(read).await?))
}

pub(super) fn not_found(id: &str) -> Problem {
    let detail = format!("there is no document `{id}`.");
    Problem::not_found("document_not_found", detail)
}

impl DocumentBody {
    fn new(state: &AppState, document: Document, probes: Vec<Probe>) -> Self {
        // A document of an earlier build may be too long for parts; then there is nothing to tell.
        let parts = lengths::parts_for(&state.engine, &document.title, &document.text);
        let parts = parts.unwrap_or_default().into_iter().map(|part| PartBody {
            characters: part.text.chars().count(),
            tokens: part.tokens,
            title: part.title,
        });
        DocumentBody {
            parts: parts.collect(),
            id: document.id,
            adapter: document.alias,
            external_id: document.external_id,
            digest: document.digest,
            replaces: document.replaces,
            replaced_by: document.replaced_by,
            probes: probes.into_iter().map(DocumentProbe::from).collect(),
            title: document.title,
            text: document.text,
            metadata: document.metadata,
            questions: document.questions,
            state: document.state,
            job_id: document.job_id,
            version: document.version,
            report: document.report.map(without_format),
            created_at: document.created_at,
            updated_at: document.updated_at,
        }
    }
}

impl From<Probe> for DocumentProbe {
    fn from(probe: Probe) -> Self {
        DocumentProbe {
            id: probe.id,
            question: probe.question,
            answer: probe.answer,
            origin: probe.origin,
            retired: probe.retired,
        }
    }
}

impl From<DocumentSummary> for DocumentItem {
    fn from(document: DocumentSummary) -> Self {
        DocumentItem {
            id: document.id,
            adapter: document.alias,
            external_id: document.external_id,
            digest: document.digest,
            replaces: document.replaces,
            replaced_by: document.replaced_by,
            title: document.title,
            state: document.state,
            version: document.version,
            score_before: document.score_before,
            score_after: document.score_after,
            job_id: document.job_id,
            created_at: document.created_at,
        }
    }
}
