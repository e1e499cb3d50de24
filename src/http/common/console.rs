//! The web console: static files within the binary. A content security policy allows nothing from elsewhere.

use super::error::Problem;
use axum::extract::{Path, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

struct File {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($name:literal $kind:literal,)+) => {
        &[$(File {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/static/", $name)),
        }),+]
    };
}

const INDEX: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/static/index.html"));

const FILES: &[File] = files! {
    "adapters.js" "text/javascript; charset=utf-8",
    "api.js" "text/javascript; charset=utf-8",
    "app.js" "text/javascript; charset=utf-8",
    "chat.js" "text/javascript; charset=utf-8",
    "documents.js" "text/javascript; charset=utf-8",
    "dom.js" "text/javascript; charset=utf-8",
    "icon.svg" "image/svg+xml",
    "ingest.js" "text/javascript; charset=utf-8",
    "jobs.js" "text/javascript; charset=utf-8",
    "learning.js" "text/javascript; charset=utf-8",
    "retention.js" "text/javascript; charset=utf-8",
    "style.css" "text/css; charset=utf-8",
};

/// All content comes from this server. Inline scripts, inline styles and frames are forbidden.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Swagger UI needs inline styles, and images and fonts from `data:` URLs.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; font-src 'self' data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

pub async fn index() -> impl IntoResponse {
    served("text/html; charset=utf-8", INDEX.as_bytes())
}

pub async fn file(Path(path): Path<String>) -> Result<impl IntoResponse, Problem> {
    match FILES.iter().find(|file| file.name == path) {
        Some(file) => Ok(served(file.kind, file.bytes)),
        None => Err(Problem::not_found(
            "not_found",
            "The console has no such file.",
        )),
    }
}

/// Middleware: adds security headers to every answer.
pub async fn harden(request: Request, next: Next) -> Response {
    let docs = request.uri().path().starts_with("/docs");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = if docs { DOCS_POLICY } else { POLICY };
    let fixed: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A browser may cache the file, but must revalidate it each time, because another binary may have other files.
fn served(kind: &'static str, bytes: &'static [u8]) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, bytes)
}
