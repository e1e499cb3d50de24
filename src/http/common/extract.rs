//! Reading a request: bodies, queries and headers, with refusals that name the field.

use super::error::Problem;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use std::time::Duration;

/// The longest `?wait=`.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The body as bytes; 413 beyond the configured size.
pub struct Body(pub Bytes);

/// A JSON body of an exact shape: 415 if it is something else, 400 if malformed, 422 naming the field.
pub struct Json<T>(pub T);

/// A query string of an exact shape.
pub struct Query<T>(pub T);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Body(bytes)),
            Err(rejection) => Err(refused_body(rejection)),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        json_only(request.headers())?;
        let Body(bytes) = Body::from_request(request, state).await?;
        Ok(Json(json(&bytes)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(pairs)
            .map(Query)
            .map_err(|error| shape(error.path().to_string(), &error.inner().to_string()))
    }
}

/// Parses JSON of an exact shape.
pub fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut parser)
        .map_err(|error| json_problem(error.path().to_string(), error.inner()))?;
    parser
        .end()
        .map_err(|error| json_problem(String::new(), &error))?;
    Ok(value)
}

/// Gives an already parsed value its exact shape.
pub fn from_value<'de, T: Deserialize<'de>>(
    value: impl Deserializer<'de, Error = serde_json::Error>,
) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| shape(error.path().to_string(), &error.inner().to_string()))
}

/// The content type without its parameters, in lower case.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next().unwrap_or(value);
    Some(kind.trim().to_ascii_lowercase())
}

/// For routes that take one form.
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

/// `500ms`, `30s`, `2m`; at most ten minutes.
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

fn refused_body(rejection: BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is larger than this server accepts ([limits] body_bytes).",
        );
    }
    Problem::bad_request("unreadable_body", "The body broke off before its end.")
}

fn json_problem(path: String, error: &serde_json::Error) -> Problem {
    use serde_json::error::Category;
    match error.classify() {
        Category::Data => shape(path, &error.to_string()),
        Category::Syntax | Category::Eof | Category::Io => {
            Problem::bad_request("malformed_json", format!("The body is not JSON: {error}."))
        }
    }
}

/// 422 for a value of the wrong shape. Serde names an unknown or missing field in its message, not in
/// the path, so it is taken from there.
fn shape(path: String, message: &str) -> Problem {
    let path = if path == "." { String::new() } else { path };
    let named = |prefix: &str| {
        let rest = message.strip_prefix(prefix)?;
        Some(rest.split('`').next().unwrap_or(rest).to_owned())
    };
    let (code, leaf) = match (named("unknown field `"), named("missing field `")) {
        (Some(name), _) => ("unknown_field", Some(name)),
        (_, Some(name)) => ("missing_field", Some(name)),
        _ => ("invalid_field", None),
    };
    let field = match leaf {
        Some(leaf) if path.is_empty() => leaf,
        Some(leaf) if path == leaf || path.ends_with(&format!(".{leaf}")) => path,
        Some(leaf) => format!("{path}.{leaf}"),
        None => path,
    };
    let place = match field.is_empty() {
        true => String::new(),
        false => format!("{field}: "),
    };
    let problem = Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        code,
        format!("{place}{message}."),
    );
    match field.is_empty() {
        true => problem,
        false => problem.field(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Outer {
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Inner {
        text: String,
    }

    fn refusal(body: &str) -> (u16, &'static str, Option<String>) {
        let problem = json::<Outer>(body.as_bytes()).unwrap_err();
        (problem.status.as_u16(), problem.code, problem.field)
    }

    #[test]
    fn a_refusal_names_the_field() {
        let at = |field: &str| Some(field.to_owned());
        let unknown = refusal(r#"{"inner":[{"text":"a","tetx":"b"}]}"#);
        assert_eq!(unknown, (422, "unknown_field", at("inner[0].tetx")));
        let missing = refusal(r#"{"inner":[{}]}"#);
        assert_eq!(missing, (422, "missing_field", at("inner[0].text")));
        let wrong = refusal(r#"{"inner":[{"text":7}]}"#);
        assert_eq!(wrong, (422, "invalid_field", at("inner[0].text")));
        assert_eq!(refusal(r#"{"inner":["#), (400, "malformed_json", None));
        assert_eq!(refusal(r#"{"inner":[]} x"#), (400, "malformed_json", None));
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
