//! Health probes for supervisors of the process.

use super::error::Problem;
use super::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`
    status: &'static str,
}

const OK: Json<Health> = Json(Health { status: "ok" });

/// The process lives
#[utoipa::path(get, path = "/livez", tag = "operation",
    responses((status = 200, description = "The process lives", body = Health)))]
pub async fn livez() -> Json<Health> {
    OK
}

/// The server can do its work
///
/// The engine's thread runs and the database answers. 503 while the model is still fetched or loaded.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, description = "The server is ready", body = Health)))]
pub async fn readyz(State(state): State<AppState>) -> Result<Json<Health>, Problem> {
    let not_ready = |what: &str| {
        let detail = format!("The {what} does not answer.");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail)
    };
    let engine = state.engine.clone();
    // Even an empty list of questions passes through the engine's thread.
    let asked = tokio::task::spawn_blocking(move || {
        engine.score(Vec::new(), autodidact_engine::Priority::Interactive)
    });
    if !matches!(asked.await, Ok(Ok(_))) {
        return Err(not_ready("engine"));
    }
    let counted = state.blocking(|state| state.store.jobs().counts()).await;
    counted.map_err(|_| not_ready("database"))?;
    Ok(OK)
}
