//! Reading the parts of a request: body, query, headers. A refusal names the wrong field.

use super::error::Problem;
use super::form;
use crate::reading::{Limit, Unreadable};
use crate::store::{IdempotencyKey, digest};
use crate::workflows::fields;
use axum::RequestExt;
use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;

/// After which a document is sent again that found all places of readers taken. HTML and PDF are read for 30 seconds at most.
const RETRY_AFTER_SECONDS: u64 = 10;
/// Upper bound of `?wait=`.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The body as bytes; 413 if it exceeds the configured size.
pub struct Body(pub Bytes);

/// A JSON body of an exact shape. Else 415 (not JSON), 400 (malformed) or 422 (wrong field).
pub struct Json<T>(pub T);

/// A query string of an exact shape.
pub struct Query<T>(pub T);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let request = request.with_limited_body();
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let limit = request.body().size_hint().upper();
        // A body that tells its length is refused before any of it is read, so that a client that asks first
        // (`Expect: 100-continue`) sends nothing.
        if (length.zip(limit)).is_some_and(|(length, limit)| length > limit) {
            return Err(too_large(limit));
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Body(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(too_large(limit))
            }
            Err(_) => Err(Problem::bad_request(
                "unreadable_body",
                "The body broke off before its end.",
            )),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        json_only(request.headers())?;
        let Body(bytes) = Body::from_request(request, state).await?;
        Ok(Json(fields::parse(&bytes)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        let read = serde_path_to_error::deserialize(pairs).map(Query);
        read.map_err(|error| {
            fields::wrong_shape(error.path().to_string(), &error.inner().to_string()).into()
        })
    }
}

/// The content type without its parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(kind_of(value))
}

/// The character set that the content type names.
pub fn charset(headers: &HeaderMap) -> Option<String> {
    charset_of(headers.get(header::CONTENT_TYPE)?.to_str().ok()?)
}

/// A content type without its parameters, in lower case.
pub fn kind_of(content_type: &str) -> String {
    let kind = content_type.split(';').next().unwrap_or(content_type);
    kind.trim().to_ascii_lowercase()
}

/// The parameter `charset` of a content type.
pub fn charset_of(content_type: &str) -> Option<String> {
    let parameters = content_type.split(';').skip(1);
    let mut pairs = parameters.filter_map(|parameter| parameter.split_once('='));
    let is_charset = |(name, _): &(&str, &str)| name.trim().eq_ignore_ascii_case("charset");
    let (_, value) = pairs.find(is_charset)?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// The refusal of a body that cannot be read as the text or the document that it is said to be.
pub fn unreadable(error: Unreadable) -> Problem {
    let (status, code) = match error {
        Unreadable::Encoding { .. } => (StatusCode::BAD_REQUEST, "not_utf8"),
        Unreadable::Charset(_) | Unreadable::Kind { .. } => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
        }
        Unreadable::FrontMatter { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "invalid_front_matter")
        }
        Unreadable::TooLarge(Limit::Places { .. }) => {
            (StatusCode::TOO_MANY_REQUESTS, "readers_full")
        }
        Unreadable::TooLarge { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "document_too_large"),
        Unreadable::Damaged { .. } | Unreadable::Encrypted { .. } | Unreadable::Nothing { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "unreadable_document")
        }
    };
    let problem = Problem::new(status, code, format!("The body cannot be read: {error}."));
    match status {
        StatusCode::TOO_MANY_REQUESTS => problem.retry_after(RETRY_AFTER_SECONDS),
        _ => problem,
    }
}

/// Refuses a body that is not JSON, for routes that take nothing else.
pub fn json_only(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers).as_deref() {
        Some("application/json") => Ok(()),
        other => Err(unsupported(other, "application/json")),
    }
}

pub fn unsupported(kind: Option<&str>, expected: &str) -> Problem {
    let sent = match kind {
        Some(kind) => format!("Content-Type '{kind}' is not understood here"),
        None => "The Content-Type header is missing".to_owned(),
    };
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        format!("{sent}; send {expected}."),
    )
}

/// Parses a duration such as `500ms`, `30s` or `2m`; ten minutes at most.
pub fn wait(text: &str) -> Result<Duration, Problem> {
    let wrong = || {
        let detail =
            format!("'{text}' is not a time to wait: write 500ms, 30s or 2m, ten minutes at most.");
        Problem::invalid("wait", detail)
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    let duration = milliseconds.map(Duration::from_millis).ok_or_else(wrong)?;
    match duration <= LONGEST_WAIT {
        true => Ok(duration),
        false => Err(wrong()),
    }
}

/// The `Idempotency-Key` with the digest of the request. `about`: all inputs outside the body that decide the work;
/// the client's waiting time does not.
pub fn idempotency_key(
    headers: &HeaderMap,
    about: &Value,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default().trim();
    if key.is_empty() || key.len() > 255 {
        let detail = "An Idempotency-Key has 1 to 255 visible ASCII characters.";
        return Err(Problem::invalid("Idempotency-Key", detail));
    }
    // The same form has another boundary each time that it is sent.
    let kind = match media_type(headers).as_deref() {
        Some(form::MEDIA_TYPE) => Some(form::MEDIA_TYPE.as_bytes()),
        _ => headers
            .get(header::CONTENT_TYPE)
            .map(|kind| kind.as_bytes()),
    };
    let request = json!([kind, about, digest(body)]);
    Ok(Some(IdempotencyKey {
        key: key.to_owned(),
        request: digest(request.to_string().as_bytes()),
    }))
}

fn too_large(limit: Option<u64>) -> Problem {
    let limit = limit.map_or("what".to_owned(), |bytes| format!("the {bytes} bytes that"));
    let detail = format!("The body is larger than {limit} this route accepts.");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_a_reader_is_to_be_sent_again() {
        let places = Limit::Places {
            format: "PDF",
            most: 4,
        };
        let problem = unreadable(Unreadable::TooLarge(places));
        assert_eq!(problem.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(problem.retry_after_seconds, Some(RETRY_AFTER_SECONDS));
    }

    #[test]
    fn waits_are_read_with_their_unit() {
        assert_eq!(wait("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(wait("2m").unwrap(), Duration::from_secs(120));
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "11m",
            "601s",
            "99999999999999999999s",
            "1h",
            "1.5s",
        ] {
            assert_eq!(
                wait(text).unwrap_err().field.as_deref(),
                Some("wait"),
                "{text}"
            );
        }
    }
}
