//! `/documents`: posted documents, each with the report of its learning.

use super::jobs::limit;
use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::Query;
use crate::http::common::state::AppState;
use crate::learn::inner::report::Report;
use crate::question::Question;
use crate::store::{
    Document, DocumentFilter, DocumentState, DocumentSummary, Page, without_format,
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
    /// Self-edits, training sequences, probes, scores and decision. The report grows while the document is learned
    #[schema(value_type = Option<Report>)]
    report: Option<Value>,
    created_at: String,
    updated_at: String,
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
    let wanted = id.clone();
    let find = move |state: &AppState| -> Result<Option<DocumentBody>, Problem> {
        let found = state.store.documents().get(&wanted)?;
        Ok(found.map(|document| DocumentBody::new(state, document)))
    };
    match state.blocking(find).await? {
        Some(document) => Ok(Json(document)),
        None => Err(Problem::not_found(
            "document_not_found",
            format!("there is no document `{id}`."),
        )),
    }
}

impl DocumentBody {
    fn new(state: &AppState, document: Document) -> Self {
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

impl From<DocumentSummary> for DocumentItem {
    fn from(document: DocumentSummary) -> Self {
        DocumentItem {
            id: document.id,
            adapter: document.alias,
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
