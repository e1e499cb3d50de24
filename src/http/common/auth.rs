//! Access control.
//!
//! If keys are configured, every route except the open ones needs `Authorization: Bearer KEY`. Only digests of the
//! keys are stored. Without keys the server listens on loopback only. A web page in the user's own browser is then
//! the danger: it may use a name that resolves to 127.0.0.1 (DNS rebinding), or a plain cross-site POST. So `Host`
//! must be a loopback name, and `Origin`, if sent, must be the server's own.

use super::error::Problem;
use super::state::AppState;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// The rule of access, fixed at start.
#[derive(Debug, Clone)]
pub enum Access {
    /// SHA-256 digests of the accepted keys.
    Keys(Vec<[u8; 32]>),
    /// No keys, loopback only.
    Loopback,
}

impl Access {
    /// `keys`: the digest of each key, as `sha256:<64 hex digits>`. Fails if one has another form.
    pub fn from_config(keys: &[String]) -> Result<Self, String> {
        if keys.is_empty() {
            return Ok(Access::Loopback);
        }
        let digests = keys.iter().map(|key| parse_digest(key));
        Ok(Access::Keys(digests.collect::<Result<_, _>>()?))
    }

    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        match self {
            Access::Keys(_) if is_open(uri.path()) => Ok(()),
            Access::Keys(keys) => check_key(keys, headers),
            Access::Loopback if matches!(uri.path(), "/livez" | "/readyz") => Ok(()),
            Access::Loopback => check_loopback(method, uri, headers),
        }
    }
}

/// Middleware: passes a request on, or answers 401 or 403.
pub async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    match state.access.check(method, uri, headers) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Whether the path is open without a key: probes, and pages without user data.
fn is_open(path: &str) -> bool {
    matches!(path, "/" | "/livez" | "/readyz" | "/openapi.json" | "/docs")
        || path.starts_with("/static/")
        || path.starts_with("/docs/")
}

fn check_key(keys: &[[u8; 32]], headers: &HeaderMap) -> Result<(), Problem> {
    let unauthorized = |detail| Problem::new(StatusCode::UNAUTHORIZED, "invalid_api_key", detail);
    let key = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().split_at_checked(7))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "))
        .map(|(_, key)| key.trim_ascii())
        .ok_or_else(|| {
            unauthorized("This server wants a key: send the header 'Authorization: Bearer KEY'.")
        })?;
    let digest: [u8; 32] = Sha256::digest(key).into();
    // Every key is compared in full, so that the time taken does not depend on the matching digits.
    let known = keys.iter().fold(false, |known, k| known | same(k, &digest));
    match known {
        true => Ok(()),
        false => Err(unauthorized("This key is not known to the server.")),
    }
}

fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let difference = a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y));
    std::hint::black_box(difference) == 0
}

fn check_loopback(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |code, detail: String| Err(Problem::new(StatusCode::FORBIDDEN, code, detail));
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| uri.authority().map(Authority::as_str))
        .unwrap_or_default();
    if !is_loopback_host(host) {
        return refuse(
            "host_not_allowed",
            format!(
                "Without keys this server answers only to localhost, not to '{host}'; configure [auth] keys to serve other names."
            ),
        );
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    match origin.split_once("://") {
        Some((_, authority)) if authority.eq_ignore_ascii_case(host) => Ok(()),
        _ => refuse(
            "origin_not_allowed",
            format!(
                "A web page of '{origin}' may not change anything here; configure [auth] keys and send one."
            ),
        ),
    }
}

/// Whether the host is `localhost`, `127.x.y.z` or `[::1]`, with or without a port.
fn is_loopback_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn parse_digest(key: &str) -> Result<[u8; 32], String> {
    let wrong = || {
        "each of [auth] keys is 'sha256:' and the 64 hexadecimal digits of the key's SHA-256 \
         (printf %s KEY | sha256sum)"
            .to_owned()
    };
    let hex = key.strip_prefix("sha256:").ok_or_else(wrong)?;
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_are_known_by_name_and_by_address() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]:8080",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "evil.test",
            "127.0.0.1.evil.test",
            "localhost.evil.test",
            "10.0.0.1",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn a_stored_key_must_be_a_digest() {
        assert!(Access::from_config(&["secret".into()]).is_err());
        assert!(Access::from_config(&[format!("sha256:{}", "g".repeat(64))]).is_err());
        // Digest of "abc" from FIPS 180-2.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let access = Access::from_config(&[abc.into()]).unwrap();
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            access.check(&Method::GET, &Uri::from_static("/jobs"), &headers)
        };
        assert!(with("Bearer abc").is_ok());
        assert!(with("bearer abc").is_ok());
        assert!(with("Bearer abd").is_err());
        assert!(with("Basic abc").is_err());
    }
}
