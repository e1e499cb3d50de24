//! The description of the API: `/openapi.json`, and Swagger UI at `/docs`.
//!
//! Most of it is written beside the handlers and types. What an attribute there cannot say is added here: the statuses
//! of refusals (`answers.rs`), the fields of the table of parameters (`requests.rs`), and bounds (`bounds.rs`).
//! `make test-schema` asks the real server whether all of it is so.

mod answers;
mod bounds;
mod requests;

use super::common::error::{OpenAiErrorBody, ProblemBody};
use super::common::state::AppState;
use super::router::api;
use axum::{Json, Router};
use serde_json::Value;
use std::sync::LazyLock;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Autodidact",
        description = "A language-model server that keeps learning: post a document, the model writes study \
            notes, trains an adapter on them, proves on questions that it learned, and the adapter is live."
    ),
    tags(
        (name = "openai", description = "OpenAI's routes, for its client libraries"),
        (name = "vllm", description = "vLLM's routes for adapters, for tools that use them"),
        (name = "learning", description = "Learning from documents, examples and practice"),
        (name = "adapters", description = "Adapters: lineage, versions, rollback"),
        (name = "operation", description = "Probes and metrics"),
    ),
    components(schemas(ProblemBody, OpenAiErrorBody)),
    security((), ("key" = [])),
    modifiers(&Key),
)]
struct Head;

struct Key;

impl Modify for Key {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("Needed if [auth] keys are configured"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// The OpenAPI document of this binary.
pub fn openapi() -> Value {
    let mut document = Head::openapi();
    document.merge(api().into_openapi());
    let mut document = serde_json::to_value(document).expect("the document is plain data");
    let schemas = document["components"]["schemas"].as_object_mut();
    let schemas = schemas.expect("the document has schemas");
    requests::complete(schemas);
    bounds::lay(schemas);
    let paths = document["paths"].as_object_mut();
    for (path, item) in paths.into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let parameters = operation
                .get_mut("parameters")
                .and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                bounds::parameter(path, parameter);
            }
            bounds::bytes(operation);
            answers::refuse(path, method, operation);
        }
    }
    bounds::integers(&mut document);
    document
}

pub async fn document() -> Json<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi);
    Json(&DOCUMENT)
}

/// Swagger UI, with its files in the binary.
pub fn pages() -> Router<AppState> {
    let config = Config::from("/openapi.json").validator_url("none");
    SwaggerUi::new("/docs").config(config).into()
}
