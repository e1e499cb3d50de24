//! `/documents`: posted documents, each with the report of its learning.

use super::jobs::limit;
use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::Query;
use crate::http::common::state::AppState;
use crate::learn::inner::report::Report;
use crate::question::Question;
use crate::store::{
    self, Document, DocumentFilter, DocumentState, DocumentSummary, Page, Probe, ProbeOrigin,
    Store, without_format,
};
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
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
    #[schema(value_type = Object)]
    metadata: Value,
    /// The client's questions. The report has the questions that the model wrote
    questions: Vec<Question>,
    state: DocumentState,
    job_id: String,
    /// The version of the adapter that learned the document
    version: Option<u64>,
    /// Whether the live version knows the document. A learned one it does not know after a rollback or an unload
    live: bool,
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
    /// Whether the live version knows the document. A learned one it does not know after a rollback or an unload
    live: bool,
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
    let list = move |state: &AppState| -> Result<DocumentPage, store::Error> {
        let filter = DocumentFilter {
            alias: alias.as_ref().map(AliasName::as_str),
            external_id: query.external_id.as_deref(),
            state: query.state,
        };
        let documents = state.store.documents();
        let Page { items, next } = documents.list(filter, query.after.as_deref(), limit)?;
        let mut lines = Lines::new(&state.store);
        let items = items
            .into_iter()
            .map(|item| DocumentItem::new(&mut lines, item));
        let items = items.collect::<Result<_, _>>()?;
        Ok(DocumentPage { items, next })
    };
    Ok(Json(state.blocking(list).await?))
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
        Ok(DocumentBody::new(
            &mut Lines::new(&s.store),
            document,
            probes,
        )?)
    };
    Ok(Json(state.blocking(read).await?))
}

pub(super) fn not_found(id: &str) -> Problem {
    let detail = format!("there is no document `{id}`.");
    Problem::not_found("document_not_found", detail)
}

impl DocumentBody {
    fn new(
        lines: &mut Lines<'_>,
        document: Document,
        probes: Vec<Probe>,
    ) -> Result<Self, store::Error> {
        Ok(DocumentBody {
            live: lines.is_live(&document.alias, document.state, document.version)?,
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
        })
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

impl DocumentItem {
    fn new(lines: &mut Lines<'_>, document: DocumentSummary) -> Result<Self, store::Error> {
        Ok(DocumentItem {
            live: lines.is_live(&document.alias, document.state, document.version)?,
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
        })
    }
}

/// What the live versions know, read once for each adapter.
pub struct Lines<'a> {
    store: &'a Store,
    /// The live version of each adapter and the versions that it continues.
    read: HashMap<String, HashSet<u64>>,
}

impl<'a> Lines<'a> {
    pub fn new(store: &'a Store) -> Self {
        Lines {
            store,
            read: HashMap::new(),
        }
    }

    /// Whether the live version knows a document in this state, learned by this version.
    pub fn is_live(
        &mut self,
        alias: &str,
        state: DocumentState,
        version: Option<u64>,
    ) -> Result<bool, store::Error> {
        let (DocumentState::Learned, Some(version)) = (state, version) else {
            return Ok(false);
        };
        if !self.read.contains_key(alias) {
            let aliases = self.store.aliases();
            let live = aliases.get(alias)?.and_then(|found| found.live);
            let line = live.map(|live| aliases.line(alias, live)).transpose()?;
            self.read.insert(alias.to_owned(), line.unwrap_or_default());
        }
        Ok(self.read[alias].contains(&version))
    }
}
