//! vLLM's `load_lora_adapter` and `unload_lora_adapter`, for tools that use them.

use super::fields::screen;
use super::parameters::lora_rule;
use crate::http::common::error::Problem;
use crate::http::common::extract::Json;
use crate::http::common::state::AppState;
use crate::workflows::fields::from_value;
use axum::extract::State;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::PathBuf;
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
pub struct LoadRequest {
    lora_name: String,
    /// A PEFT directory on the server's disk
    #[schema(value_type = String)]
    lora_path: PathBuf,
}

#[derive(Deserialize, ToSchema)]
pub struct UnloadRequest {
    lora_name: String,
}

/// Publish an adapter from the server's disk
#[utoipa::path(post, path = "/v1/load_lora_adapter", tag = "vllm", request_body = LoadRequest,
    responses((status = 200, description = "A confirmation", body = String, content_type = "text/plain")))]
pub async fn load_lora_adapter(
    State(state): State<AppState>,
    Json(body): Json<Map<String, Value>>,
) -> Result<String, Problem> {
    let request: LoadRequest = read(body)?;
    let name = request.lora_name.clone();
    state
        .blocking(move |s| s.registry.load(&request.lora_name, &request.lora_path))
        .await
        .map_err(named)?;
    Ok(format!(
        "Success: LoRA adapter '{name}' added successfully."
    ))
}

/// Take an adapter out of service; its versions stay
#[utoipa::path(post, path = "/v1/unload_lora_adapter", tag = "vllm", request_body = UnloadRequest,
    responses((status = 200, description = "A confirmation", body = String, content_type = "text/plain")))]
pub async fn unload_lora_adapter(
    State(state): State<AppState>,
    Json(body): Json<Map<String, Value>>,
) -> Result<String, Problem> {
    let request: UnloadRequest = read(body)?;
    let name = request.lora_name.clone();
    state
        .blocking(move |s| s.registry.unload(&request.lora_name))
        .await
        .map_err(named)?;
    Ok(format!(
        "Success: LoRA adapter '{name}' removed successfully."
    ))
}

fn read<T: DeserializeOwned>(mut body: Map<String, Value>) -> Result<T, Problem> {
    screen("", &mut body, lora_rule)?;
    Ok(from_value(Value::Object(body))?)
}

/// Renames the wrong field to vLLM's name for the adapter.
fn named(problem: Problem) -> Problem {
    match problem.field.as_deref() {
        Some("adapter") => problem.field("lora_name"),
        _ => problem,
    }
}
