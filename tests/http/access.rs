//! Access control: with keys, a request needs one; without keys, only names and origins of this machine are allowed.

use crate::common::{Server, json_of};
use autodidact::store::digest;
use reqwest::StatusCode;
use serde_json::json;

async fn with_key() -> Server {
    Server::with(|config| config.auth.keys = vec![digest(b"open sesame"), digest(b"second")]).await
}

#[tokio::test]
async fn a_configured_key_is_wanted_everywhere_but_on_open_pages() {
    let server = with_key().await;
    for path in [
        "/livez",
        "/readyz",
        "/",
        "/static/app.js",
        "/docs/",
        "/openapi.json",
    ] {
        assert_eq!(
            server.get(path).send().await.unwrap().status(),
            200,
            "{path}"
        );
    }
    let closed = [
        "/jobs",
        "/documents",
        "/adapters",
        "/metrics",
        "/v1/models",
        "/jobs/x/events",
        "/nothing",
    ];
    for path in closed {
        let answer = server.get(path).send().await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        let scheme = answer.headers()["www-authenticate"].to_str().unwrap();
        assert!(scheme.starts_with("Bearer"), "{scheme}");
    }
    let (status, problem) = json_of(server.get("/jobs").bearer_auth("wrong")).await;
    assert_eq!((status, &problem["code"]), (401, &json!("invalid_api_key")));
    let (_, error) = json_of(server.get("/v1/models").bearer_auth("wrong")).await;
    assert_eq!(error["error"]["code"], "invalid_api_key");
    for key in ["open sesame", "second"] {
        let answer = server.get("/jobs").bearer_auth(key).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{key}");
    }
    // The digest that is stored opens nothing.
    let answer = server.get("/jobs").bearer_auth(digest(b"open sesame"));
    assert_eq!(answer.send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn without_the_key_nothing_is_stored() {
    let server = with_key().await;
    assert_eq!(
        server.ingest("kb", &["One"]).send().await.unwrap().status(),
        401
    );
    assert!(server.state.store.jobs().counts().unwrap().is_empty());
}

#[tokio::test]
async fn without_keys_only_names_of_this_machine_are_answered() {
    let server = Server::start().await;
    let as_host = async |host: &str| {
        let answer = server
            .get("/jobs")
            .header("host", host)
            .send()
            .await
            .unwrap();
        answer.status()
    };
    for host in ["localhost", "localhost:1", "127.0.0.1:99", "[::1]:8080"] {
        assert_eq!(as_host(host).await, StatusCode::OK, "{host}");
    }
    for host in ["evil.test", "127.0.0.1.evil.test", "192.168.1.7:8080"] {
        assert_eq!(as_host(host).await, StatusCode::FORBIDDEN, "{host}");
    }
    let (_, problem) = json_of(server.get("/jobs").header("host", "evil.test")).await;
    assert_eq!(problem["code"], "host_not_allowed");
}

#[tokio::test]
async fn without_keys_other_sites_pages_change_nothing() {
    let server = Server::start().await;
    let host = server.url.trim_start_matches("http://").to_owned();
    let from = async |origin: &str| {
        let request = server.ingest("kb", &["One"]).header("origin", origin);
        request.send().await.unwrap().status().as_u16()
    };
    for origin in [
        "http://evil.test",
        "null",
        "http://localhost:1",
        "http://127.0.0.1",
    ] {
        assert_eq!(from(origin).await, 403, "{origin}");
    }
    assert!(server.state.store.jobs().counts().unwrap().is_empty());
    assert_eq!(from(&format!("http://{host}")).await, 202);
}
