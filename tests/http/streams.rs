//! The bytes of a stream, as client libraries expect them.

use crate::common::{BASE, Server};
use serde_json::{Value, json};

/// The data of every event; the last must be `[DONE]`.
async fn chunks(server: &Server, path: &str, body: Value) -> Vec<Value> {
    let answer = server.post(path).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(kind, "text/event-stream");
    let text = answer.text().await.unwrap();
    let data: Vec<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("data: "))
        .collect();
    let (last, rest) = data.split_last().unwrap();
    assert_eq!(*last, "[DONE]");
    rest.iter()
        .map(|d| serde_json::from_str(d).unwrap())
        .collect()
}

#[tokio::test]
async fn chat_chunks_open_with_a_role_and_close_with_a_reason() {
    let server = Server::start().await;
    let body = json!({"model": BASE, "stream": true, "max_tokens": 6, "ignore_eos": true, "n": 2,
        "logprobs": true, "messages": [{"role": "user", "content": "Hello"}]});
    let chunks = chunks(&server, "/v1/chat/completions", body).await;
    for index in [0, 1] {
        let of_choice: Vec<&Value> = chunks
            .iter()
            .map(|c| &c["choices"][0])
            .filter(|c| c["index"] == index)
            .collect();
        assert_eq!(of_choice[0]["delta"]["role"], "assistant");
        let last = of_choice.last().unwrap();
        assert_eq!(last["finish_reason"], "length");
        assert_eq!(last["delta"], json!({}));
        let reasons = of_choice.iter().filter(|c| !c["finish_reason"].is_null());
        assert_eq!(reasons.count(), 1);
        let logged = of_choice.iter().filter(|c| !c["logprobs"].is_null());
        assert_eq!(logged.count(), 6);
    }
    let same = |field: &str| chunks.iter().all(|c| c[field] == chunks[0][field]);
    assert!(same("id") && same("created") && same("system_fingerprint"));
    assert!(chunks.iter().all(|c| c.get("usage").is_none()));
}

#[tokio::test]
async fn completion_chunks_carry_usage_when_asked() {
    let server = Server::start().await;
    let body = json!({"model": BASE, "stream": true, "max_tokens": 6, "ignore_eos": true,
        "prompt": "Hello", "logprobs": 0, "stream_options": {"include_usage": true}});
    let chunks = chunks(&server, "/v1/completions", body).await;
    let (last, rest) = chunks.split_last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 6);
    assert!(
        rest.iter()
            .all(|c| c["usage"].is_null() && c.get("usage").is_some())
    );
    let offsets: Vec<u64> = rest
        .iter()
        .filter_map(|c| c["choices"][0]["logprobs"]["text_offset"][0].as_u64())
        .collect();
    assert_eq!(offsets.len(), 6);
    assert!(offsets.windows(2).all(|w| w[0] <= w[1]), "{offsets:?}");
}

#[tokio::test]
async fn a_request_that_cannot_start_is_no_stream() {
    let server = Server::start().await;
    let body = json!({"model": "none", "stream": true, "prompt": "Hello"});
    let answer = server
        .post("/v1/completions")
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "model_not_found");
}
