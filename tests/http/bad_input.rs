//! Bad input: the answer is one clear sentence with the field's name in the right envelope, and nothing is half-done.

use crate::common::{BASE, Server, json_of};
use serde_json::{Value, json};

/// The problem's (status, code, field), its envelope checked.
async fn problem(request: reqwest::RequestBuilder) -> (u16, String, Option<String>) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(kind, "application/problem+json");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["status"], status);
    assert_eq!(body["type"], "about:blank");
    assert!(!body["title"].as_str().unwrap().is_empty());
    let detail = body["detail"].as_str().unwrap();
    assert!(
        detail.ends_with('.') || detail.ends_with('…'),
        "no sentence: {detail}"
    );
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    (status, text("code").unwrap(), text("field"))
}

/// The OpenAI error's (status, code, param), its envelope checked.
async fn openai_error(request: reqwest::RequestBuilder) -> (u16, String, Option<String>) {
    let (status, body) = json_of(request).await;
    let error = &body["error"];
    assert!(!error["message"].as_str().unwrap().is_empty());
    assert!(error["type"].as_str().unwrap().ends_with("_error"));
    let text = |field: &str| error[field].as_str().map(str::to_owned);
    (status, text("code").unwrap(), text("param"))
}

#[tokio::test]
async fn a_bad_ingest_stores_nothing() {
    let server = Server::with(|config| config.limits.documents_per_request = 3).await;
    let document = json!({"title": "A", "text": "Text."});
    let with = |more: Value| {
        let mut body = json!({"adapter": "kb", "documents": [document]});
        crate::common::merge(&mut body, more);
        body
    };
    let of = |more: Value| {
        let mut bad = json!({"title": "A", "text": "Text."});
        crate::common::merge(&mut bad, more);
        with(json!({"documents": [document, bad]}))
    };
    let long = "words ".repeat(2048);
    let endless = "words ".repeat(200_000);
    let question = |text: &str| json!({"question": text, "answer": "She."});
    let cases = [
        (
            with(json!({"adapters": 1})),
            422,
            "unknown_field",
            "adapters",
        ),
        (
            json!({"documents": [document]}),
            422,
            "missing_field",
            "adapter",
        ),
        (json!({"adapter": "kb"}), 422, "missing_field", "documents"),
        (with(json!({"adapter": 7})), 422, "invalid_field", "adapter"),
        (
            with(json!({"adapter": "Not A Name"})),
            422,
            "invalid_name",
            "adapter",
        ),
        (
            with(json!({"adapter": "x".repeat(65)})),
            422,
            "invalid_name",
            "adapter",
        ),
        (
            with(json!({"adapter": BASE})),
            422,
            "invalid_name",
            "adapter",
        ),
        (
            with(json!({"documents": []})),
            422,
            "invalid_field",
            "documents",
        ),
        (
            with(json!({"documents": [document, document, document, document]})),
            422,
            "invalid_field",
            "documents",
        ),
        (
            of(json!({"text": ""})),
            422,
            "invalid_field",
            "documents[1].text",
        ),
        (
            of(json!({"text": " \n"})),
            422,
            "invalid_field",
            "documents[1].text",
        ),
        (
            of(json!({"title": ""})),
            422,
            "invalid_field",
            "documents[1].title",
        ),
        (
            of(json!({"title": "x".repeat(301)})),
            422,
            "invalid_field",
            "documents[1].title",
        ),
        (
            of(json!({"text": 7})),
            422,
            "invalid_field",
            "documents[1].text",
        ),
        (
            of(json!({"body": ""})),
            422,
            "unknown_field",
            "documents[1].body",
        ),
        (
            of(json!({"metadata": []})),
            422,
            "invalid_field",
            "documents[1].metadata",
        ),
        (
            of(json!({"questions": [{"question": "Q?"}]})),
            422,
            "missing_field",
            "documents[1].questions[0].answer",
        ),
        (
            of(json!({"questions": [{"question": "Q?", "answer": ""}]})),
            422,
            "invalid_field",
            "documents[1].questions[0].answer",
        ),
        (
            of(json!({"text": endless})),
            400,
            "context_length_exceeded",
            "documents[1].text",
        ),
        (
            of(json!({"questions": vec![question("Who?"); 101]})),
            422,
            "invalid_field",
            "documents[1].questions",
        ),
        (
            of(json!({"questions": [question("Who?"), question(&long)]})),
            422,
            "invalid_field",
            "documents[1].questions[1]",
        ),
        (
            with(json!({"self_edit": {"kid": "none"}})),
            422,
            "unknown_field",
            "self_edit.kid",
        ),
        (
            with(json!({"self_edit": {"kind": "magic"}})),
            422,
            "invalid_field",
            "self_edit.kind",
        ),
        (
            with(json!({"training": {"epochs": 0}})),
            422,
            "invalid_field",
            "training.epochs",
        ),
        (
            with(json!({"training": {"rank": "big"}})),
            422,
            "invalid_field",
            "training.rank",
        ),
        (
            with(json!({"training": []})),
            422,
            "invalid_field",
            "training",
        ),
        (
            with(json!({"gate": {"min_gain": 2}})),
            422,
            "invalid_field",
            "gate.min_gain",
        ),
        (
            with(json!({"gate": {"grader": "judge"}})),
            422,
            "invalid_field",
            "gate.grader",
        ),
        (
            with(json!({"self_edit": {"writer": "teacher"}})),
            422,
            "invalid_field",
            "self_edit.writer",
        ),
        (
            with(json!({"self_edit": {"writer": "nobody"}})),
            422,
            "invalid_field",
            "self_edit.writer",
        ),
        (
            with(json!({"self_edit": {"policy": "nobody"}})),
            422,
            "invalid_field",
            "self_edit.policy",
        ),
        (
            with(json!({"self_edit": {"writer": "teacher", "policy": "nobody"}})),
            422,
            "invalid_field",
            "self_edit.policy",
        ),
        (with(json!({"seed": -1})), 422, "invalid_field", "seed"),
    ];
    for (body, status, code, field) in cases {
        let found = problem(server.post("/ingest").json(&body)).await;
        let expected = (status, code.to_owned(), Some(field.to_owned()));
        assert_eq!(found, expected, "{:.200}", body.to_string());
    }
    let (_, jobs) = json_of(server.get("/jobs")).await;
    let (_, documents) = json_of(server.get("/documents")).await;
    assert_eq!(
        (&jobs["items"], &documents["items"]),
        (&json!([]), &json!([]))
    );
}

#[tokio::test]
async fn a_bad_line_of_ndjson_is_named() {
    let server = Server::start().await;
    let good = r#"{"title": "A", "text": "Text."}"#;
    let cases = [
        ("{\"title\": \"B\"}", 422, Some("line 3: text")),
        (
            "{\"title\": \"B\", \"text\": \"\"}",
            422,
            Some("line 3: text"),
        ),
        ("{\"title\": ", 400, None),
        ("[]", 422, None),
    ];
    for (bad, status, field) in cases {
        let request = server
            .post("/ingest?adapter=kb")
            .header("content-type", "application/x-ndjson");
        let (s, body) = json_of(request.body(format!("{good}\n\n{bad}\n{good}\n"))).await;
        assert_eq!(s, status, "{body}");
        assert_eq!(body["field"].as_str(), field, "{body}");
        assert!(
            body["detail"].as_str().unwrap().starts_with("Line 3: "),
            "{body}"
        );
    }
    assert_eq!(json_of(server.get("/jobs")).await.1["items"], json!([]));
}

#[tokio::test]
async fn bodies_and_queries_are_refused_by_kind() {
    let server = Server::with(|config| config.limits.body_bytes = 1000).await;
    let post = |kind: &str, body: &str| {
        server
            .post("/ingest")
            .header("content-type", kind)
            .body(body.to_owned())
    };
    let is = |status: u16, code: &str, field: Option<&str>| {
        (status, code.to_owned(), field.map(str::to_owned))
    };
    let found = problem(post("application/json", "{\"adapter\": ")).await;
    assert_eq!(found, is(400, "malformed_json", None));
    let found = problem(post("application/json", &" ".repeat(1001))).await;
    assert_eq!(found, is(413, "body_too_large", None));
    let found = problem(post("image/png", "PNG")).await;
    assert_eq!(found, is(415, "unsupported_media_type", None));
    let found = problem(server.post("/ingest").body("{}")).await;
    assert_eq!(found, is(415, "unsupported_media_type", None));
    let found = problem(post("text/plain", "no adapter")).await;
    assert_eq!(found, is(422, "missing_field", Some("adapter")));
    let request = server
        .post("/ingest?adapter=kb")
        .header("content-type", "text/plain");
    assert_eq!(
        problem(request.body("text")).await,
        is(422, "missing_field", Some("title"))
    );
    let request = server
        .post("/ingest?adapter=kb&title=T")
        .header("content-type", "text/plain");
    assert_eq!(
        problem(request.body(vec![b'a', 0xff])).await,
        is(400, "not_utf8", None)
    );
    for wait in ["30", "1h", "11m", "-1s"] {
        let found = problem(server.post(&format!("/ingest?wait={wait}"))).await;
        assert_eq!(found, is(422, "invalid_field", Some("wait")));
    }
    let found = problem(server.post("/ingest?wiat=1s")).await;
    assert_eq!(found, is(422, "unknown_field", Some("wiat")));
    let found = problem(server.get("/jobs?state=gone")).await;
    assert_eq!(found, is(422, "invalid_field", Some("state")));
    for limit in ["0", "501", "-1", "x"] {
        let found = problem(server.get(&format!("/jobs?limit={limit}"))).await;
        assert_eq!(found, is(422, "invalid_field", Some("limit")));
    }
}

#[tokio::test]
async fn addresses_that_are_not_there() {
    let server = Server::start().await;
    let code = async |request| {
        let (status, code, _) = problem(request).await;
        (status, code)
    };
    let is = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(code(server.get("/nothing")).await, is(404, "not_found"));
    assert_eq!(
        code(server.get("/static/nothing.js")).await,
        is(404, "not_found")
    );
    assert_eq!(
        code(server.delete("/jobs")).await,
        is(405, "method_not_allowed")
    );
    assert_eq!(
        code(server.get("/jobs/job_0")).await,
        is(404, "job_not_found")
    );
    assert_eq!(
        code(server.get("/jobs/job_0/events")).await,
        is(404, "job_not_found")
    );
    assert_eq!(
        code(server.post("/jobs/job_0/cancel")).await,
        is(404, "job_not_found")
    );
    assert_eq!(
        code(server.get("/documents/doc_0")).await,
        is(404, "document_not_found")
    );
    assert_eq!(
        code(server.get("/adapters/none")).await,
        is(404, "adapter_not_found")
    );
    assert_eq!(
        code(server.get("/adapters/none/versions")).await,
        is(404, "adapter_not_found")
    );
    assert_eq!(
        code(server.get("/adapters/Not%20One")).await,
        is(422, "invalid_name")
    );
    let answer = server.delete("/jobs").send().await.unwrap();
    assert!(answer.headers()["allow"].to_str().unwrap().contains("GET"));
    let none = openai_error(server.get("/v1/nothing")).await;
    assert_eq!(none, (404, "not_found".to_owned(), None));
    let method = openai_error(server.get("/v1/completions")).await;
    assert_eq!(method, (405, "method_not_allowed".to_owned(), None));
}

#[tokio::test]
async fn a_bad_chat_names_its_parameter() {
    let server = Server::start().await;
    let user = json!({"role": "user", "content": "Hello"});
    let image = json!([{"type": "image_url", "image_url": {"url": "data:,"}}]);
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    let cases = [
        (json!({"messages": []}), "messages"),
        (json!({"messages": "Hello"}), "messages"),
        (
            json!({"messages": [user, {"role": "user", "content": 7}]}),
            "messages[1].content",
        ),
        (
            json!({"messages": [{"role": "user"}]}),
            "messages[0].content",
        ),
        (
            json!({"messages": [{"role": "wizard", "content": "x"}]}),
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "tool", "content": "x"}]}),
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "user", "content": image}]}),
            "messages[0].content[0].type",
        ),
        (json!({"model": null}), "model"),
        (json!({"tools": tool}), "tools"),
        (json!({"tool_choice": "required"}), "tool_choice"),
        (
            json!({"response_format": {"type": "json_object"}}),
            "response_format",
        ),
        (json!({"logit_bias": {"1": 5}}), "logit_bias"),
        (json!({"modalities": ["text", "audio"]}), "modalities"),
        (json!({"temperature": 2.5}), "temperature"),
        (json!({"temperature": -1}), "temperature"),
        (json!({"top_p": -0.1}), "top_p"),
        (json!({"top_p": 1.1}), "top_p"),
        (json!({"repetition_penalty": 0}), "repetition_penalty"),
        (json!({"n": 0}), "n"),
        (json!({"n": 17}), "n"),
        (json!({"max_tokens": 0}), "max_tokens"),
        (json!({"stop": [""]}), "stop"),
        (json!({"stop": 3}), "stop"),
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (
            json!({"logprobs": true, "top_logprobs": 21}),
            "top_logprobs",
        ),
        (json!({"frequency_penalty": 3}), "frequency_penalty"),
    ];
    for (more, param) in cases {
        let mut body = json!({"model": BASE, "messages": [user], "max_tokens": 1});
        crate::common::merge(&mut body, more.clone());
        let request = server.post("/v1/chat/completions").json(&body);
        let (status, code, found) = openai_error(request).await;
        assert_eq!(
            (status, found.as_deref()),
            (400, Some(param)),
            "{more} {code}"
        );
    }
    let request = server.post("/v1/chat/completions").json(&json!([1]));
    assert_eq!(openai_error(request).await.0, 400);
    let request = server
        .post("/v1/chat/completions")
        .header("content-type", "application/json");
    let malformed = openai_error(request.body("{")).await;
    assert_eq!(malformed, (400, "malformed_json".to_owned(), None));
    assert_eq!(
        server.state.engine.stats().completion_tokens,
        0,
        "nothing was generated"
    );
}

#[tokio::test]
async fn options_must_go_together_with_those_of_the_server() {
    let server = Server::learning(json!({"self_edit": {"kind": "rewrite"}})).await;
    let mut body = json!({"adapter": "kb", "documents": [{"title": "A", "text": "Text."}],
        "training": {"method": "distill"}});
    let (status, problem) = json_of(server.post("/ingest").json(&body)).await;
    assert_eq!(
        (status, &problem["field"]),
        (422, &json!("training.method")),
        "{problem}"
    );
    body["self_edit"] = json!({"kind": "self-qa"});
    assert_eq!(json_of(server.post("/ingest").json(&body)).await.0, 202);
}
