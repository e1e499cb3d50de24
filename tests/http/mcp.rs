//! MCP: calls by the official Python client, and bad calls that no client sends.

use super::python;
use crate::common::{BASE, Server, json_of};
use autodidact::store::digest;
use futures::StreamExt;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

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

fn call(server: &Server, method: &str, params: Value) -> RequestBuilder {
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let both = "application/json, text/event-stream";
    server.post("/mcp").header("accept", both).json(&call)
}

/// The messages in what has come of an answer.
fn messages(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let data = data.map(str::trim).filter(|data| !data.is_empty());
    data.map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

/// The rules of the strictest clients (VS Code, Gemini, OpenAI's strict mode) for the schema of arguments.
fn check(schema: &Value, at: &str) {
    let allowed = [
        "type",
        "description",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
    ];
    let keys = schema
        .as_object()
        .unwrap_or_else(|| panic!("{at} is no schema: {schema}"));
    for key in keys.keys() {
        assert!(allowed.contains(&key.as_str()), "{at} has {key}");
    }
    let kind = schema["type"]
        .as_str()
        .unwrap_or_else(|| panic!("{at} has no single type: {schema}"));
    if !at.is_empty() {
        assert!(
            !schema["description"]
                .as_str()
                .unwrap_or_default()
                .is_empty()
                || at.ends_with("[]"),
            "{at}"
        );
    }
    match kind {
        "object" => {
            let properties = schema["properties"].as_object().unwrap();
            assert!(
                !properties.is_empty(),
                "{at} is an object without properties"
            );
            assert_eq!(schema["additionalProperties"], false, "{at}");
            for name in schema["required"].as_array().unwrap() {
                assert!(
                    properties.contains_key(name.as_str().unwrap()),
                    "{at} lacks {name}"
                );
            }
            for (name, property) in properties {
                check(property, &format!("{at}.{name}"));
            }
        }
        "array" => check(&schema["items"], &format!("{at}[]")),
        other => assert!(
            ["string", "number", "integer", "boolean"].contains(&other),
            "{at}: {other}"
        ),
    }
    if let Some(values) = schema.get("enum") {
        assert_eq!(kind, "string", "{at}");
        assert!(
            values.as_array().unwrap().iter().all(Value::is_string),
            "{at}"
        );
    }
}

#[tokio::test]
async fn every_argument_has_a_type_that_strict_clients_take() {
    let server = Server::start().await;
    let answer = call(&server, "tools/list", json!({})).send().await.unwrap();
    let listed = messages(&answer.text().await.unwrap());
    let tools = listed[0]["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 5);
    for tool in tools {
        assert_eq!(tool["inputSchema"]["type"], "object");
        check(&tool["inputSchema"], "");
    }
}

#[tokio::test]
async fn a_call_with_a_token_is_told_how_far_it_is() {
    let server = Server::start().await;
    server.gate.close();
    let arguments = json!({"adapter": "kb", "title": "Vell", "text": "Orr runs the light."});
    let learn = |meta: Value| {
        let params = json!({"name": "learn_document", "arguments": arguments, "_meta": meta});
        call(&server, "tools/call", params)
    };
    let answer = learn(json!({"progressToken": "p1"})).send().await.unwrap();
    let (mut stream, mut text) = (answer.bytes_stream(), String::new());
    let mut next = async |text: &mut String| {
        let bytes = stream.next().await.map(Result::unwrap);
        bytes
            .inspect(|bytes| text.push_str(std::str::from_utf8(bytes).unwrap()))
            .is_some()
    };
    // The job cannot go on, and yet the caller hears of it again and again.
    while text.matches("notifications/progress").count() < 3 {
        assert!(next(&mut text).await, "{text}");
    }
    assert!(!text.contains("\"result\""), "{text}");
    server.gate.open();
    while next(&mut text).await {}
    let mut all = messages(&text);
    let result = all.pop().unwrap();
    assert!(
        result["result"]["content"][0]["text"]
            .as_str()
            .unwrap()
            .contains("learned"),
        "{result}"
    );
    let mut last = -1.0;
    for notice in &all {
        let params = &notice["params"];
        assert_eq!(params["progressToken"], "p1", "{notice}");
        assert_eq!(params["total"], 1.0, "{notice}");
        assert!(!params["message"].as_str().unwrap().is_empty(), "{notice}");
        let progress = params["progress"].as_f64().unwrap();
        assert!(progress > last, "{progress} after {last}");
        last = progress;
    }
    assert_eq!(last, 1.0);

    // Without a token there is only the result.
    let answer = learn(json!({})).send().await.unwrap();
    assert_eq!(messages(&answer.text().await.unwrap()).len(), 1);
    // A question tells at once that it is being answered; nobody knows how long that takes.
    let ask = json!({"name": "ask", "arguments": {"question": "Who?", "max_tokens": 2},
        "_meta": {"progressToken": 7}});
    let answer = call(&server, "tools/call", ask).send().await.unwrap();
    let told = messages(&answer.text().await.unwrap());
    assert_eq!(told[0]["params"]["progressToken"], 7);
    assert!(told[0]["params"].get("total").is_none(), "{told:?}");
}

#[tokio::test]
async fn grids_may_come_as_texts_of_json() {
    let server = Server::start().await;
    let examples = json!([{"input": "[[1,2]]", "output": "[[2,1]]"}, {"input": [[3, 4]], "output": "[[4,3]]"}]);
    let arguments =
        json!({"kind": "grid", "examples": examples, "inputs": ["[[5,6]]"], "seconds": 5});
    let params = json!({"name": "adapt_from_examples", "arguments": arguments});
    let answer = call(&server, "tools/call", params).send().await.unwrap();
    let told = messages(&answer.text().await.unwrap());
    let result = told.last().unwrap();
    assert_ne!(result["result"]["isError"], true, "{result}");
}
