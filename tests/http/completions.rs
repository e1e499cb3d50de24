//! Plain completions: every form of the prompt, and the older shape of log-probabilities.

use crate::common::{BASE, Server, json_of, merge};
use serde_json::{Value, json};

async fn complete(server: &Server, more: Value) -> (u16, Value) {
    let mut body = json!({"model": BASE, "prompt": "The lighthouse", "temperature": 0,
        "max_tokens": 8, "ignore_eos": true});
    merge(&mut body, more);
    json_of(server.post("/v1/completions").json(&body)).await
}

#[tokio::test]
async fn a_prompt_is_text_or_tokens_and_there_may_be_many() {
    let server = Server::start().await;
    let (status, one) = complete(&server, json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(one["object"], "text_completion");
    assert_eq!(one["choices"][0]["finish_reason"], "length");
    assert_eq!(one["usage"]["completion_tokens"], 8);
    let text = &one["choices"][0]["text"];

    let tokenizer = &server.state.engine.files().tokenizer;
    let tokens = tokenizer.encode("The lighthouse").unwrap();
    assert_eq!(one["usage"]["prompt_tokens"], tokens.len());
    for prompt in [json!(tokens), json!([tokens]), json!(["The lighthouse"])] {
        let (_, same) = complete(&server, json!({"prompt": prompt})).await;
        assert_eq!(&same["choices"][0]["text"], text, "{prompt}");
    }

    let both = json!({"prompt": ["The keeper", "The lighthouse"], "n": 2});
    let (_, both) = complete(&server, both).await;
    let indices: Vec<u64> = both["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!(&both["choices"][2]["text"], text);
    assert_eq!(&both["choices"][3]["text"], text);
    let prompts = tokens.len() + tokenizer.encode("The keeper").unwrap().len();
    assert_eq!(both["usage"]["prompt_tokens"], prompts);
    assert_eq!(both["usage"]["completion_tokens"], 32);
}

#[tokio::test]
async fn log_probabilities_come_as_a_table() {
    let server = Server::start().await;
    let (_, answer) = complete(&server, json!({"logprobs": 3})).await;
    let table = &answer["choices"][0]["logprobs"];
    let length = |field: &str| table[field].as_array().unwrap().len();
    let fields = ["tokens", "token_logprobs", "top_logprobs", "text_offset"];
    assert_eq!(fields.map(length), [8; 4]);
    assert_eq!(table["text_offset"][0], 0);
    // Greedy: the token drawn is the likeliest of the alternatives.
    let likeliest = table["top_logprobs"][0]
        .as_object()
        .unwrap()
        .values()
        .map(|v| v.as_f64().unwrap())
        .fold(f64::NEG_INFINITY, f64::max);
    assert_eq!(table["token_logprobs"][0].as_f64().unwrap(), likeliest);
}

#[tokio::test]
async fn what_is_not_implemented_is_refused_by_name() {
    let server = Server::start().await;
    let cases = [
        (json!({"echo": true}), "echo"),
        (json!({"best_of": 3}), "best_of"),
        (json!({"suffix": "."}), "suffix"),
        (json!({"logprobs": 6}), "logprobs"),
        (json!({"prompt": ""}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": {"a": 1}}), "prompt"),
        (json!({"max_tokens": 0}), "max_tokens"),
    ];
    for (more, field) in cases {
        let (status, answer) = complete(&server, more).await;
        assert_eq!(
            (status, &answer["error"]["param"]),
            (400, &json!(field)),
            "{answer}"
        );
    }
    let (status, answer) = complete(&server, json!({"prompt": [4_000_000]})).await;
    assert_eq!(status, 400);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("4000000"), "{message}");
}
