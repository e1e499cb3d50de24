//! The answers before the server is ready. A first start fetches the model, which takes minutes.

use super::common::error::{self, Problem};
use super::common::state::AppState;
use super::common::{console, health, linger};
use super::router::router;
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::{Arc, OnceLock};
use tower::ServiceExt;

/// The server during and after its start. Clones share one state.
///
/// Until [`Startup::ready`], `/livez` answers 200, so that no supervisor takes a download for a hang. Every other
/// path, including `/readyz`, answers 503 `loading` with `Retry-After`.
#[derive(Clone, Default)]
pub struct Startup(Arc<OnceLock<Router>>);

const RETRY_AFTER_SECONDS: u64 = 5;

impl Startup {
    /// Lets the routes answer from now on. A second call changes nothing.
    pub fn ready(&self, state: AppState) {
        let _ = self.0.set(router(state));
    }

    pub fn router(self) -> Router {
        let loading = until_ready();
        Router::new().fallback(move |request: Request| {
            let router = self.0.get().unwrap_or(&loading).clone();
            router.oneshot(request)
        })
    }
}

impl From<AppState> for Startup {
    fn from(state: AppState) -> Self {
        let startup = Startup::default();
        startup.ready(state);
        startup
    }
}

fn until_ready() -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .fallback(loading)
        .layer(from_fn(error::envelope))
        .route("/", get(console_later))
        .layer(from_fn(console::harden))
        .layer(from_fn(linger::read_on))
}

async fn loading() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "loading",
        "The model is being fetched or loaded; `/readyz` answers 200 when it is here.",
    )
    .retry_after(RETRY_AFTER_SECONDS)
}

/// The page for a browser, which reloads by itself.
async fn console_later() -> Response {
    let text = "The model is being fetched or loaded; this page reloads until it is here.\n";
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    for name in [header::REFRESH, header::RETRY_AFTER] {
        let seconds = HeaderValue::from(RETRY_AFTER_SECONDS);
        response.headers_mut().insert(name, seconds);
    }
    response
}
