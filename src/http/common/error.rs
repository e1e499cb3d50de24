//! Refusals and errors as HTTP answers.
//!
//! Handlers and middleware fail with a [`Problem`]: a status, a stable code, a sentence for the reader and, if one
//! field is wrong, its name. A workflow's [`Refusal`] becomes a problem, and so does every error that converts to a
//! refusal. [`envelope`], the outermost layer, writes the body: RFC 9457 `application/problem+json` on our own
//! routes, OpenAI's `{"error": …}` under `/v1/`. Errors of axum itself (no such route, a wrong method) pass the same
//! layer. So every error has one of the two shapes.

use crate::workflows::refusal::{Refusal, RefusalKind};
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The answer to a refused or failed request, before the envelope writes its body.
#[derive(Debug, Clone)]
pub struct Problem {
    pub status: StatusCode,
    /// Stable: programs may compare it.
    pub code: &'static str,
    pub detail: String,
    pub field: Option<String>,
    pub retry_after_seconds: Option<u64>,
}

/// An error of our own routes (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemBody {
    /// Always `about:blank`: the code identifies the problem.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    status: u16,
    /// Stable: programs may compare it.
    code: &'static str,
    /// One sentence for the reader.
    detail: String,
    /// The wrong field, such as `documents[0].text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

/// An error of the routes under `/v1/`, in OpenAI's shape.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiErrorBody {
    error: OpenAiError,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiError {
    message: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// The wrong parameter.
    param: Option<String>,
    code: Option<&'static str>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Problem {
            status,
            code,
            detail: detail.into(),
            field: None,
            retry_after_seconds: None,
        }
    }

    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Tells the client to come again after this time (`Retry-After`).
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// 400: the request is well-formed, but this server cannot do it.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 422: a field has a wrong value.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_field", detail).field(field)
    }

    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Problem::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// 500: the reason goes to the log, not to the client.
    pub fn internal(reason: impl std::fmt::Display) -> Self {
        tracing::error!(%reason, "a request failed inside the server");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The server failed to answer; its log says why.",
        )
    }

    /// The body in OpenAI's shape. A stream that fails half-way sends it too.
    pub fn openai_body(&self) -> OpenAiErrorBody {
        let kind = match self.status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::FORBIDDEN => "permission_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        OpenAiErrorBody {
            error: OpenAiError {
                message: self.detail.clone(),
                kind,
                param: self.field.clone(),
                code: Some(self.code),
            },
        }
    }

    fn problem_body(self) -> ProblemBody {
        ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail,
            field: self.field,
        }
    }
}

/// Attaches the problem to an empty answer. [`envelope`] knows the route and writes the body.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Middleware: writes every error in the shape of its route.
pub async fn envelope(request: Request, next: Next) -> Response {
    let openai = request.uri().path().starts_with("/v1/");
    let mut response = next.run(request).await;
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_bare_error(&response) => {
            let status = response.status();
            let body = std::mem::replace(response.body_mut(), Body::empty());
            let text = to_bytes(body, 4096).await.unwrap_or_default();
            bare(status, String::from_utf8_lossy(&text).trim())
        }
        None => return response,
    };
    write(problem, openai, response)
}

/// The answer to a request whose handler panicked. The trace layer has logged the panic.
pub fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    Problem::internal("a handler panicked").into_response()
}

fn write(mut problem: Problem, openai: bool, original: Response) -> Response {
    if openai && problem.status == StatusCode::UNPROCESSABLE_ENTITY {
        // OpenAI's clients expect 400 for every kind of bad field.
        problem.status = StatusCode::BAD_REQUEST;
    }
    let (status, retry_after) = (problem.status, problem.retry_after_seconds);
    let mut response = if openai {
        Json(problem.openai_body()).into_response()
    } else {
        let mut response = Json(problem.problem_body()).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(allow) = original.headers().get(header::ALLOW) {
        headers.insert(header::ALLOW, allow.clone());
    }
    if let Some(seconds) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"autodidact\"");
        headers.insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// Whether the answer is an error of a library: its body is plain text or empty.
fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    let json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
    (status.is_client_error() || status.is_server_error()) && !json
}

fn bare(status: StatusCode, text: &str) -> Problem {
    let (code, sentence) = match status {
        StatusCode::NOT_FOUND => ("not_found", "There is nothing at this address."),
        StatusCode::METHOD_NOT_ALLOWED => (
            "method_not_allowed",
            "This address does not know that method; the Allow header names those it knows.",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "The body is too large."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (
            "unsupported_media_type",
            "This content type is not understood here.",
        ),
        status if status.is_server_error() => ("internal", "The server failed to answer."),
        _ => ("bad_request", "The request is not well-formed."),
    };
    let detail = if text.is_empty() || status.is_server_error() {
        sentence
    } else {
        text
    };
    Problem::new(status, code, detail)
}

/// Converts a workflow's refusal, or an error of adapters, store, jobs or engine by way of [`Refusal`].
impl<E: Into<Refusal>> From<E> for Problem {
    fn from(error: E) -> Self {
        let Refusal {
            kind,
            code,
            detail,
            field,
        } = error.into();
        let status = match kind {
            RefusalKind::Malformed | RefusalKind::TooLong => StatusCode::BAD_REQUEST,
            RefusalKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            RefusalKind::NotFound => StatusCode::NOT_FOUND,
            RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::Full { .. } => StatusCode::TOO_MANY_REQUESTS,
            RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            RefusalKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = match kind {
            RefusalKind::Internal => Problem::internal(detail),
            _ => Problem::new(status, code, detail),
        };
        if let RefusalKind::Full {
            retry_after_seconds,
        } = kind
        {
            problem = problem.retry_after(retry_after_seconds);
        }
        problem.field = field;
        problem
    }
}
