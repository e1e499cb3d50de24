//! `GET /adapters/{alias}/retention`: the scores of an adapter's versions on all learned documents.

use super::adapters::in_path;
use super::jobs::limit;
use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::Query;
use crate::http::common::state::AppState;
use crate::learn::inner::retention::{Matrix, ProbeAnswer, matrix};
use crate::store::{Document, GeneralScore};
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RetentionQuery {
    /// Number of rows: the newest versions, 1 to 500, default 50. The summary counts all versions
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub struct RetentionBody {
    adapter: String,
    /// The version of the summary
    live_version: Option<u64>,
    /// The columns: all learned documents, oldest first
    documents: Vec<RetentionDocument>,
    /// The rows. Row 0 is the base, asked about a document before anything was learned
    versions: Vec<u64>,
    #[serde(flatten)]
    matrix: Matrix,
    /// Each version's score on general probes. A version that was not asked is left out
    general: Vec<General>,
}

#[derive(Serialize, ToSchema)]
struct RetentionDocument {
    id: String,
    title: String,
    /// The version that learned the document
    version: u64,
    /// Whether the live version continues that version. After a rollback it may not
    live: bool,
}

#[derive(Serialize, ToSchema)]
struct General {
    version: u64,
    /// Number of general probes asked
    probes: u64,
    /// Share answered right by the base, 0 to 1
    base: f64,
    /// Share answered right by this version, 0 to 1
    score: f64,
}

/// The forgetting matrix of an adapter
///
/// The score on each document after each update. An update asks at most 40 probes of earlier documents. So a
/// cell may cover only a part of its document's probes, and a cell without probes is null.
#[utoipa::path(get, path = "/adapters/{alias}/retention", tag = "adapters",
    params(("alias" = String, Path), RetentionQuery),
    responses((status = 200, description = "The matrix", body = RetentionBody)))]
pub async fn adapter_retention(
    State(state): State<AppState>,
    Path(alias): Path<String>,
    Query(query): Query<RetentionQuery>,
) -> Result<Json<RetentionBody>, Problem> {
    let alias = in_path(&alias)?;
    let limit = limit(query.limit)?;
    let read = move |state: &AppState| read(state, &alias, limit);
    Ok(Json(state.blocking(read).await?))
}

fn read(state: &AppState, alias: &AliasName, limit: usize) -> Result<RetentionBody, Problem> {
    let page = state.registry.versions(alias, None, limit)?;
    let mut versions: Vec<u64> = page.items.iter().map(|v| v.number).collect();
    versions.reverse();
    let first = versions.first().copied().unwrap_or(0);
    let live = state.registry.get(alias)?.live;
    let line = match live {
        Some(live) => state.store.aliases().line(alias.as_str(), live)?,
        None => HashSet::new(),
    };
    let learned = state.store.documents().learned(alias.as_str())?;
    let columns = learned.into_iter().filter_map(|d| column(d, &line));
    let documents: Vec<RetentionDocument> = columns.collect();

    let scores = state.store.probes().scores(alias.as_str())?;
    if scores.iter().any(|s| s.version == 0) {
        versions.insert(0, 0);
    }
    let asked = scores.into_iter().map(|s| ProbeAnswer {
        document: s.document_id,
        probe: s.probe_id,
        version: s.version,
        correct: s.correct,
        logprob: s.logprob,
    });
    let asked: Vec<ProbeAnswer> = asked.collect();
    let columns = documents.iter().map(|d| (d.id.clone(), d.version));
    let columns: Vec<(String, u64)> = columns.collect();
    let general = state.store.probes().general_since(alias.as_str(), first)?;
    Ok(RetentionBody {
        adapter: alias.to_string(),
        live_version: live,
        matrix: matrix(&asked, &columns, &versions, &line),
        documents,
        versions,
        general: general.into_iter().map(General::from).collect(),
    })
}

fn column(document: Document, line: &HashSet<u64>) -> Option<RetentionDocument> {
    let version = document.version?;
    Some(RetentionDocument {
        id: document.id,
        title: document.title,
        version,
        live: line.contains(&version),
    })
}

impl From<GeneralScore> for General {
    fn from(score: GeneralScore) -> Self {
        let share = |count: u64| count as f64 / score.probes.max(1) as f64;
        General {
            version: score.version,
            probes: score.probes,
            base: share(score.base_correct),
            score: share(score.correct),
        }
    }
}
