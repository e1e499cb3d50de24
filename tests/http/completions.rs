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
    let text = answer["choices"][0]["text"].as_str().unwrap();
    let offsets: Vec<u64> = numbers(&table["text_offset"]);
    assert!(offsets.windows(2).all(|w| w[0] <= w[1]), "{offsets:?}");
    assert!(
        offsets.iter().all(|at| *at <= text.chars().count() as u64),
        "{offsets:?} {text:?}"
    );
    // Greedy: the token drawn is the likeliest of the alternatives.
    let likeliest = table["top_logprobs"][0]
        .as_object()
        .unwrap()
        .values()
        .map(|v| v.as_f64().unwrap())
        .fold(f64::NEG_INFINITY, f64::max);
    assert_eq!(table["token_logprobs"][0].as_f64().unwrap(), likeliest);
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .collect()
}

/// The tiny model writes noise: many of its tokens are parts of characters that look alike.
#[tokio::test]
async fn log_probabilities_tell_tokens_apart() {
    let server = Server::start().await;
    let wanted = json!({"logprobs": 5, "max_tokens": 64, "temperature": 2, "seed": 3});
    let (_, answer) = complete(&server, wanted.clone()).await;
    let table = &answer["choices"][0]["logprobs"];
    let tokens = table["tokens"].as_array().unwrap();
    let broken = tokens
        .iter()
        .filter(|t| t.as_str().unwrap().starts_with("bytes:\\x"));
    assert!(broken.count() > 0, "{tokens:?}");
    for (alternatives, token) in table["top_logprobs"].as_array().unwrap().iter().zip(tokens) {
        let alternatives = alternatives.as_object().unwrap();
        // Five, and the drawn token if it is not among them.
        assert!((5..=6).contains(&alternatives.len()), "{alternatives:?}");
        assert!(
            alternatives.contains_key(token.as_str().unwrap()),
            "{token} {alternatives:?}"
        );
    }
    // By ids, the same: the text from an offset is what the tokens from there on spell.
    let mut by_id = wanted.clone();
    by_id["return_tokens_as_token_ids"] = json!(true);
    let (_, numbered) = complete(&server, by_id).await;
    let text: Vec<char> = numbered["choices"][0]["text"]
        .as_str()
        .unwrap()
        .chars()
        .collect();
    let numbered = &numbered["choices"][0]["logprobs"];
    assert_eq!(numbered["text_offset"], table["text_offset"]);
    assert_eq!(numbered["token_logprobs"], table["token_logprobs"]);
    let tokenizer = &server.state.engine.files().tokenizer;
    let ids = numbered["tokens"].as_array().unwrap().iter().map(|token| {
        let id = token.as_str().unwrap().strip_prefix("token_id:").unwrap();
        id.parse::<u32>().unwrap()
    });
    let ids: Vec<u32> = ids.collect();
    assert_eq!(
        tokenizer.decode(&ids, true),
        text.iter().collect::<String>()
    );
    for (n, at) in numbers(&numbered["text_offset"]).into_iter().enumerate() {
        // Whole characters before the token: those that stay when only the earlier tokens are read.
        let before = tokenizer.decode(&ids[..n], true);
        let same = before
            .chars()
            .zip(&text)
            .take_while(|(a, b)| a == *b)
            .count();
        let at = usize::try_from(at).unwrap();
        assert!(
            at <= same && same <= at + 1,
            "token {n} at {at}, not {same}"
        );
    }
}

#[tokio::test]
async fn offsets_of_a_stream_are_those_of_the_whole() {
    let server = Server::start().await;
    let wanted = json!({"logprobs": 0, "max_tokens": 48, "temperature": 2, "seed": 5, "n": 2});
    let (_, whole) = complete(&server, wanted.clone()).await;
    let mut body =
        json!({"model": BASE, "prompt": "The lighthouse", "ignore_eos": true, "stream": true});
    merge(&mut body, wanted);
    let answer = server
        .post("/v1/completions")
        .json(&body)
        .send()
        .await
        .unwrap();
    let stream = answer.text().await.unwrap();
    let mut streamed = [Vec::new(), Vec::new()];
    for data in stream.lines().filter_map(|l| l.strip_prefix("data: {")) {
        let chunk: Value = serde_json::from_str(&format!("{{{data}")).unwrap();
        let choice = &chunk["choices"][0];
        if !choice["logprobs"].is_null() {
            let index = choice["index"].as_u64().unwrap() as usize;
            streamed[index].extend(numbers(&choice["logprobs"]["text_offset"]));
        }
    }
    for (index, offsets) in streamed.iter().enumerate() {
        assert_eq!(
            &numbers(&whole["choices"][index]["logprobs"]["text_offset"]),
            offsets
        );
    }
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
