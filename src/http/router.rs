//! The table of routes, and the layers that every request passes.

use super::agents::mcp;
use super::common::state::AppState;
use super::common::{auth, console, error, health, linger, metrics};
use super::docs;
use super::learning::{
    adapt, adapters, deletion, documents, events, ingest, jobs, retention, train, weights,
};
use super::openai::{chat, completions, models, vllm};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

/// Every route of the interface, with its description.
pub(super) fn api() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        // OpenAI's
        .routes(routes!(chat::create_chat_completion))
        .routes(routes!(completions::create_completion))
        .routes(routes!(models::list_models))
        .routes(routes!(models::get_model))
        // vLLM's
        .routes(routes!(vllm::load_lora_adapter))
        .routes(routes!(vllm::unload_lora_adapter))
        // Learning
        .routes(routes!(ingest::ingest))
        .routes(routes!(adapt::adapt))
        .routes(routes!(train::train))
        .routes(routes!(documents::list_documents))
        .routes(routes!(documents::get_document, deletion::delete_document))
        .routes(routes!(jobs::list_jobs))
        .routes(routes!(jobs::get_job))
        .routes(routes!(jobs::cancel_job))
        .routes(routes!(jobs::pause_job))
        .routes(routes!(jobs::resume_job))
        .routes(routes!(events::job_events))
        // Adapters
        .routes(
            routes!(adapters::list_adapters, adapters::upload_adapter)
                .layer(DefaultBodyLimit::max(adapters::LARGEST_ADAPTER)),
        )
        .routes(routes!(adapters::get_adapter, adapters::delete_adapter))
        .routes(routes!(adapters::list_versions))
        .routes(routes!(weights::download_weights))
        .routes(routes!(adapters::rollback_adapter))
        .routes(routes!(retention::adapter_retention))
        // Operation
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::metrics))
}

/// The server's router: routes, pages, and the layers around them. The outermost layer comes last.
pub fn router(state: AppState) -> Router {
    let (api, _) = api().split_for_parts();
    api.route("/", get(console::index))
        .route("/static/{*path}", get(console::file))
        .route("/openapi.json", get(docs::document))
        .merge(docs::pages())
        .route_service("/mcp", mcp::service(&state))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(DefaultBodyLimit::max(state.config.limits.body_bytes))
        .layer(from_fn_with_state(state.clone(), auth::guard))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(from_fn(error::envelope))
        .layer(from_fn(metrics::measure))
        .layer(from_fn(console::harden))
        .layer(TraceLayer::new_for_http())
        .layer(from_fn(linger::read_on))
        .with_state(state)
}
