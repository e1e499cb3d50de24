//! MCP: calls by the official Python client, and bad calls that no client sends.

use super::python;
use crate::common::{BASE, Server, json_of};
use autodidact::store::digest;
use serde_json::json;

#[tokio::test]
async fn the_official_client_finds_and_uses_every_tool() {
    let server = Server::start().await;
    let url = format!("{}/mcp", server.url);
    python::run("tests/mcp_client.py", &[&url, BASE]).await;
}

/// Checks only the plumbing, because the tiny model's answers are noise.
#[tokio::test]
async fn the_example_of_a_corrected_agent_runs() {
    let server = Server::start().await;
    let url = format!("{}/mcp", server.url);
    let said = python::run("demo/agent.py", &[&url, "--seconds", "5"]).await;
    for step in ["wrong tool call", "corrected", "after /adapt"] {
        assert!(said.contains(step), "{said}");
    }
}

#[tokio::test]
async fn the_layers_in_front_stand_before_mcp_too() {
    let server = Server::with(|config| config.auth.keys = vec![digest(b"sk-test")]).await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let ask = || {
        let both = "application/json, text/event-stream";
        server.post("/mcp").header("accept", both).json(&list)
    };
    let (status, problem) = json_of(ask()).await;
    assert_eq!((status, &problem["code"]), (401, &json!("invalid_api_key")));
    let answer = ask().bearer_auth("sk-test").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.unwrap();
    assert!(text.contains("adapt_from_examples"), "{text}");

    let open = Server::start().await;
    let foreign = open.post("/mcp").header("origin", "https://evil.test");
    let (status, problem) = json_of(foreign.json(&list)).await;
    assert_eq!(
        (status, &problem["code"]),
        (403, &json!("origin_not_allowed"))
    );
}
