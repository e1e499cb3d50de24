//! Refusals are in their reader's words: the field as it was sent, and no types of the code.

use super::fields::{CHAT, COMPLETIONS, send};
use super::train::with;
use crate::common::{BASE, Server, adapter, archive, json_of, merge};
use serde_json::{Value, json};

#[tokio::test]
async fn a_refusal_has_the_name_that_was_sent() {
    let server = Server::start().await;
    for (more, field) in [
        (json!({"max_completion_tokens": 0}), "max_completion_tokens"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (
            json!({"max_completion_tokens": 4, "max_tokens": 0}),
            "max_tokens",
        ),
    ] {
        let (status, answer) = send(&server, CHAT, more).await;
        let told = (status, &answer["error"]["param"]);
        assert_eq!(told, (400, &json!(field)), "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(field), "{message}");
    }
    let (status, answer) = send(&server, COMPLETIONS, json!({"max_tokens": 0})).await;
    assert_eq!(
        (status, &answer["error"]["param"]),
        (400, &json!("max_tokens"))
    );

    // The base's name is none for an adapter; the field is that of the route.
    let upload = server.post_archive(&format!("/adapters?name={BASE}"), archive(&adapter(1)));
    let (status, problem) = json_of(upload).await;
    assert_eq!(
        (status, &problem["field"]),
        (422, &json!("name")),
        "{problem}"
    );
    for path in ["/adapters/No%20Name", "/adapters/No%20Name/retention"] {
        let (status, problem) = json_of(server.get(path)).await;
        assert_eq!(
            (status, &problem["field"]),
            (422, &json!("alias")),
            "{problem}"
        );
    }
    for name in ["text", "context"] {
        let contexts = json!([{"title": "A", "text": "x"}, {"title": "B", name: "\u{200b}"}]);
        let body = with(json!({"contexts": contexts}));
        let (status, problem) = json_of(server.post("/train").json(&body)).await;
        let field = format!("contexts[1].{name}");
        assert_eq!(
            (status, &problem["field"]),
            (422, &json!(field)),
            "{problem}"
        );
        assert!(
            problem["detail"].as_str().unwrap().starts_with(&field),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_number_that_no_double_holds_is_named() {
    let server = Server::start().await;
    let large = format!("1{}", "0".repeat(400));
    for (field, value) in [
        ("seed", large.clone()),
        ("metadata.x", format!("{{\"x\": {large}}}")),
    ] {
        let (name, _) = field.split_once('.').unwrap_or((field, ""));
        let body = format!(
            r#"{{"model": "{BASE}", "messages": [{{"role": "user", "content": "x"}}], "{name}": {value}}}"#
        );
        let request = server.post(CHAT).header("content-type", "application/json");
        let (status, answer) = json_of(request.body(body)).await;
        let told = (status, &answer["error"]["param"]);
        assert_eq!(told, (400, &json!(field)), "{answer}");
    }
}

/// What a reader is told of a wrong type, without the names of types in the code.
#[tokio::test]
async fn no_refusal_speaks_of_types_of_the_code() {
    let server = Server::start().await;
    let document = json!({"title": "A", "text": "x"});
    let ingest = |more: Value| {
        let mut body = json!({"adapter": "kb", "documents": [document]});
        merge(&mut body, more);
        body
    };
    let cases = [
        ("/ingest", ingest(json!({"seed": -1}))),
        ("/ingest", ingest(json!({"seed": 1.5}))),
        ("/ingest", ingest(json!({"again": "yes"}))),
        ("/ingest", ingest(json!({"documents": {}}))),
        ("/ingest", ingest(json!({"documents": ["x"]}))),
        ("/ingest", ingest(json!({"training": {"rank": "x"}}))),
        ("/ingest", ingest(json!({"training": {"alpha": "x"}}))),
        ("/ingest", ingest(json!({"training": {"method": 7}}))),
        (
            "/ingest",
            ingest(json!({"documents": [{"title": {}, "text": []}]})),
        ),
        (
            "/ingest",
            ingest(json!({"documents": [{"title": "A", "text": "x", "metadata": []}]})),
        ),
        ("/train", json!({"policy": "p", "contexts": 7})),
        ("/train", json!({"policy": "p", "rounds": -1})),
        (
            "/adapt",
            json!({"task": {"kind": 7, "train": [], "test": []}}),
        ),
        ("/adapt", json!({"task": 7})),
        (CHAT, json!({"model": BASE, "messages": "x"})),
        (CHAT, json!({"model": BASE, "messages": [7]})),
        (
            CHAT,
            json!({"model": BASE, "messages": [], "temperature": "x"}),
        ),
        (COMPLETIONS, json!({"model": BASE, "prompt": "x", "n": -1})),
        ("/adapters/kb/rollback", json!({"version": "x"})),
    ];
    for (path, body) in cases {
        let (status, answer) = json_of(server.post(path).json(&body)).await;
        let told = answer["detail"]
            .as_str()
            .or(answer["error"]["message"].as_str());
        let told = told.unwrap();
        assert!((400..500).contains(&status), "{path} {body}: {told}");
        let words: Vec<&str> = told
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .collect();
        for word in [
            "u8", "u16", "u32", "u64", "usize", "i32", "i64", "f32", "f64", "struct", "enum",
            "map", "sequence", "variant",
        ] {
            let named = word == "variant" && told.contains("unknown variant");
            assert!(named || !words.contains(&word), "{path} {body}: {told}");
        }
    }
}
