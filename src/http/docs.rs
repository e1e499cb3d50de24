//! The description of the API: `/openapi.json`, and Swagger UI at `/docs`.

use super::common::error::{OpenAiErrorBody, ProblemBody};
use super::common::state::AppState;
use super::router::api;
use axum::{Json, Router};
use serde_json::Value;
use std::sync::LazyLock;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder};
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
pub fn openapi() -> Document {
    let mut document = Head::openapi();
    document.merge(api().into_openapi());
    for (path, item) in &mut document.paths.paths {
        let openai = path.starts_with("/v1/");
        for operation in operations(item) {
            refuse_with(operation, openai);
        }
    }
    document
}

pub async fn document() -> Json<&'static Value> {
    static DOCUMENT: LazyLock<Value> =
        LazyLock::new(|| serde_json::to_value(openapi()).expect("the document is plain data"));
    Json(&DOCUMENT)
}

/// Swagger UI, with its files in the binary.
pub fn pages() -> Router<AppState> {
    let config = Config::from("/openapi.json").validator_url("none");
    SwaggerUi::new("/docs").config(config).into()
}

/// Adds the default error response to an operation: OpenAI's shape under `/v1/`, RFC 9457 elsewhere.
fn refuse_with(operation: &mut Operation, openai: bool) {
    let (schema, kind) = match openai {
        true => ("OpenAiErrorBody", "application/json"),
        false => ("ProblemBody", "application/problem+json"),
    };
    let content = ContentBuilder::new()
        .schema(Some(RefOr::Ref(Ref::from_schema_name(schema))))
        .build();
    let response = ResponseBuilder::new()
        .description("Refused, or failed")
        .content(kind, content)
        .build();
    let responses = &mut operation.responses.responses;
    responses.insert("default".to_owned(), RefOr::T(response));
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.post, &mut item.delete]
        .into_iter()
        .flatten()
}
