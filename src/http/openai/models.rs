//! OpenAI's `GET /v1/models`: the base and every live adapter.

use crate::http::common::error::Problem;
use crate::http::common::state::AppState;
use crate::store::Alias;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct Models {
    /// `list`
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize, ToSchema)]
pub struct Model {
    id: String,
    /// `model`
    object: &'static str,
    /// Unix seconds
    created: i64,
    owned_by: &'static str,
    /// The base model's id
    root: String,
    /// The base model's id for an adapter; null for the base
    parent: Option<String>,
}

/// List the models that can be asked
#[utoipa::path(get, path = "/v1/models", tag = "openai",
    responses((status = 200, description = "The base, then the adapters", body = Models)))]
pub async fn list_models(State(state): State<AppState>) -> Result<Json<Models>, Problem> {
    let aliases = state.blocking(live_aliases).await?;
    let mut data = vec![base(&state)];
    data.extend(aliases.iter().map(|alias| adapter(&state, alias)));
    Ok(Json(Models {
        object: "list",
        data,
    }))
}

/// One model
#[utoipa::path(get, path = "/v1/models/{id}", tag = "openai",
    params(("id" = String, Path, description = "The base's id, an adapter's name, or `name@version`")),
    responses((status = 200, description = "The model", body = Model)))]
pub async fn get_model(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Json<Model>, Problem> {
    let find = move |state: &AppState| -> Result<Model, Problem> {
        let resolved = state.registry.resolve(&id)?;
        let Some((alias, _)) = resolved.version else {
            return Ok(base(state));
        };
        let mut model = adapter(state, &state.registry.get(&alias)?);
        model.id = resolved.name;
        Ok(model)
    };
    Ok(Json(state.blocking(find).await?))
}

fn live_aliases(state: &AppState) -> Result<Vec<Alias>, Problem> {
    let mut aliases = Vec::new();
    let mut after = None;
    loop {
        let page = state.registry.list(after.as_deref(), 100)?;
        aliases.extend(page.items.into_iter().filter(|alias| alias.live.is_some()));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(aliases),
        }
    }
}

fn base(state: &AppState) -> Model {
    let id = state.registry.base_id().to_owned();
    Model {
        id: id.clone(),
        object: "model",
        created: state.started,
        owned_by: "autodidact",
        root: id,
        parent: None,
    }
}

fn adapter(state: &AppState, alias: &Alias) -> Model {
    let base = state.registry.base_id().to_owned();
    let created = alias.created_at.parse::<chrono::DateTime<chrono::Utc>>();
    Model {
        id: alias.name.clone(),
        object: "model",
        created: created.map_or(state.started, |time| time.timestamp()),
        owned_by: "autodidact",
        root: base.clone(),
        parent: Some(base),
    }
}
