//! `/adapters`: lineage, versions, files, and the moves of an alias.
//!
//! A move may name the version that the caller believes live (`expected_version`). The answer is 409 if another
//! version is live, so that two clients cannot undo each other's moves by accident.

use super::archive;
use super::jobs::limit;
use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::{Json as JsonBody, Query, media_type, unsupported};
use crate::http::common::form;
use crate::http::common::state::AppState;
use crate::http::common::upload::Upload;
use crate::store::{Alias, Page, Version, without_format};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

/// Largest upload of an adapter in bytes, as it is sent and unpacked. Adapters of real models exceed `body_bytes`.
pub const LARGEST_ADAPTER: usize = 512 << 20;

#[derive(Serialize, ToSchema)]
pub struct AdapterBody {
    name: String,
    /// Null after an unload; requests may still name a version
    live_version: Option<u64>,
    /// Digest of the live version
    digest: Option<String>,
    /// Number of versions
    versions: u64,
    /// Number of documents learned by the live version and by the versions that it continues
    documents: u64,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize, ToSchema)]
pub struct AdapterPage {
    items: Vec<AdapterBody>,
    /// The `after` of the next page
    next: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct VersionBody {
    adapter: String,
    version: u64,
    digest: String,
    /// The version that was live before this one was published
    parent: Option<u64>,
    live: bool,
    /// The record of how the version was made: documents, self-edits, settings, scores
    #[schema(value_type = Object)]
    lineage: Value,
    /// Size of the files in bytes
    bytes: u64,
    created_at: String,
}

#[derive(Serialize, ToSchema)]
pub struct VersionPage {
    items: Vec<VersionBody>,
    /// The `after` of the next page
    next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The `next` of the page before
    after: Option<String>,
    /// 1 to 500, default 50
    limit: Option<usize>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    /// The adapter's name
    name: String,
    /// 409 unless this version is live
    expected_version: Option<u64>,
}

/// A form with the files of an adapter.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it only describes the form")]
struct UploadForm {
    /// `adapter_config.json` and `adapter_model.safetensors`, in fields of any name
    #[schema(format = Binary)]
    file: Vec<String>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// 409 unless this version is live
    expected_version: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The version to make live
    version: u64,
    /// 409 unless this version is live
    expected_version: Option<u64>,
}

/// The adapter that the address names.
pub(super) fn in_path(alias: &str) -> Result<AliasName, Problem> {
    AliasName::parse(alias).map_err(|error| Problem::from(error).field("alias"))
}

/// List adapters by name
#[utoipa::path(get, path = "/adapters", tag = "adapters", params(PageQuery),
    responses((status = 200, description = "A page of adapters", body = AdapterPage)))]
pub async fn list_adapters(
    State(state): State<AppState>,
    Query(query): Query<PageQuery>,
) -> Result<Json<AdapterPage>, Problem> {
    let limit = limit(query.limit)?;
    let list = move |s: &AppState| s.registry.list(query.after.as_deref(), limit);
    let Page { items, next } = state.blocking(list).await?;
    let items = items.into_iter().map(AdapterBody::from).collect();
    Ok(Json(AdapterPage { items, next }))
}

/// Publish an adapter made elsewhere
///
/// The body is an archive with `adapter_config.json` and `adapter_model.safetensors`, as PEFT saves them: tar, tar with
/// gzip, or zip. Or it is a form with the two files.
#[utoipa::path(post, path = "/adapters", tag = "adapters", params(UploadQuery),
    request_body(content((Vec<u8> = "application/x-tar"), (Vec<u8> = "application/gzip"),
        (Vec<u8> = "application/zip"), (UploadForm = "multipart/form-data"))),
    responses((status = 201, description = "The new version, live", body = VersionBody)))]
pub async fn upload_adapter(
    State(state): State<AppState>,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    Upload { bytes, room }: Upload,
) -> Result<impl IntoResponse, Problem> {
    let turn = state.uploads.turn().await?;
    let form = match media_type(&headers).as_deref() {
        Some(form::MEDIA_TYPE) => Some(form::fields(&headers, bytes.clone()).await?),
        Some(kind) if archive::is_archive(kind) => None,
        kind => return Err(unsupported(kind, archive::EXPECTED)),
    };
    let alias = AliasName::parse(&query.name).map_err(|e| Problem::from(e).field("name"))?;
    let publish = move |state: &AppState| -> Result<Version, Problem> {
        // Held until the work is done, even if the client is gone.
        let _held = (room, turn);
        let files = match &form {
            Some(form) => archive::of_form(form, LARGEST_ADAPTER as u64)?,
            None => archive::unpack(&bytes, LARGEST_ADAPTER as u64)?,
        };
        let expected = query.expected_version;
        let registry = &state.registry;
        let name = registry.check_name(&alias).map_err(Problem::from);
        name.map_err(|problem| problem.field("name"))?;
        Ok(registry.upload(&alias, files.config_json, files.safetensors, expected)?)
    };
    let version = state.blocking(publish).await?;
    let location = format!("/adapters/{}", version.alias);
    let body = Json(VersionBody::new(version, true));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], body))
}

/// One adapter
#[utoipa::path(get, path = "/adapters/{alias}", tag = "adapters", params(("alias" = String, Path)),
    responses((status = 200, description = "The adapter", body = AdapterBody)))]
pub async fn get_adapter(
    State(state): State<AppState>,
    Path(alias): Path<String>,
) -> Result<Json<AdapterBody>, Problem> {
    let alias = in_path(&alias)?;
    let found = state.blocking(move |s| s.registry.get(&alias)).await?;
    Ok(Json(found.into()))
}

/// Delete an adapter with everything learned into it
#[utoipa::path(delete, path = "/adapters/{alias}", tag = "adapters",
    params(("alias" = String, Path), DeleteQuery),
    responses((status = 204, description = "Deleted")))]
pub async fn delete_adapter(
    State(state): State<AppState>,
    Path(alias): Path<String>,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, Problem> {
    let alias = in_path(&alias)?;
    let delete = move |s: &AppState| s.registry.delete(&alias, query.expected_version);
    state.blocking(delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An adapter's versions, the newest first
#[utoipa::path(get, path = "/adapters/{alias}/versions", tag = "adapters",
    params(("alias" = String, Path), PageQuery),
    responses((status = 200, description = "A page of versions", body = VersionPage)))]
pub async fn list_versions(
    State(state): State<AppState>,
    Path(alias): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<VersionPage>, Problem> {
    let alias = in_path(&alias)?;
    let limit = limit(query.limit)?;
    let after =
        match query.after {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                Problem::invalid("after", "after is the `next` of the page before.")
            })?),
        };
    let list = move |state: &AppState| -> Result<VersionPage, Problem> {
        let live = state.registry.get(&alias)?.live;
        let Page { items, next } = state.registry.versions(&alias, after, limit)?;
        let body = |version: Version| {
            let live = live == Some(version.number);
            VersionBody::new(version, live)
        };
        let items = items.into_iter().map(body).collect();
        Ok(VersionPage { items, next })
    };
    Ok(Json(state.blocking(list).await?))
}

/// Make another version live
#[utoipa::path(post, path = "/adapters/{alias}/rollback", tag = "adapters",
    params(("alias" = String, Path)), request_body = RollbackRequest,
    responses((status = 200, description = "The adapter", body = AdapterBody)))]
pub async fn rollback_adapter(
    State(state): State<AppState>,
    Path(alias): Path<String>,
    JsonBody(request): JsonBody<RollbackRequest>,
) -> Result<Json<AdapterBody>, Problem> {
    let alias = in_path(&alias)?;
    let move_live = move |s: &AppState| {
        let expected = request.expected_version;
        s.registry.rollback(&alias, request.version, expected)
    };
    Ok(Json(state.blocking(move_live).await?.into()))
}

impl From<Alias> for AdapterBody {
    fn from(alias: Alias) -> Self {
        AdapterBody {
            name: alias.name,
            live_version: alias.live,
            digest: alias.digest,
            versions: alias.versions,
            documents: alias.documents,
            created_at: alias.created_at,
            updated_at: alias.updated_at,
        }
    }
}

impl VersionBody {
    fn new(version: Version, live: bool) -> Self {
        VersionBody {
            adapter: version.alias,
            version: version.number,
            digest: version.digest,
            parent: version.parent,
            live,
            lineage: without_format(version.lineage),
            bytes: version.bytes,
            created_at: version.created_at,
        }
    }
}
