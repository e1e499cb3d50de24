//! Requests beyond the limits of the window and of the engine's queue.

use crate::common::{BASE, Server, json_of};
use serde_json::{Value, json};

#[tokio::test]
async fn a_prompt_beyond_the_window_is_told_both_figures() {
    let server = Server::start().await;
    let long = "word ".repeat(3000);
    let more = json!({"messages": [{"role": "user", "content": long}]});
    let answer = server.chat(BASE, more).await;
    assert_eq!(answer.status(), 400);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "context_length_exceeded");
    assert_eq!(body["error"]["param"], "messages");
    let message = body["error"]["message"].as_str().unwrap();
    let figures: Vec<usize> = message.split(' ').filter_map(|w| w.parse().ok()).collect();
    assert!(figures[0] > 3000 && figures[1] == 2048, "{message}");
}

#[tokio::test]
async fn a_full_engine_says_when_to_come_back() {
    let server = Server::with(|config| config.limits.requests_waiting = 1).await;
    let long = || server.chat(BASE, json!({"max_tokens": 1900, "n": 16, "stream": true}));
    // Two of these fill the engine's places, the third waits, the fourth finds no room.
    let mut held = Vec::new();
    let refused = loop {
        let answer = long().await;
        match answer.status().as_u16() {
            200 => held.push(answer),
            _ => break answer,
        }
        assert!(held.len() < 8, "never full");
    };
    assert_eq!(refused.status(), 429);
    let seconds: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(seconds >= 1);
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["type"], "rate_limit_error");
}

/// A document must fit the window together with its prompts and their answers.
#[tokio::test]
async fn a_document_leaves_room_in_the_window_for_its_questions() {
    let server = Server::start().await;
    let tokenizer = &server.state.engine.files().tokenizer;
    let count = |text: &str| tokenizer.encode(text).unwrap().len();
    let most = 2048 - 512;
    // The longest allowed text, and one token more.
    let text_of = |tokens: usize| {
        let mut text = String::new();
        while count("A") + count(&text) < tokens {
            text.push('0');
        }
        assert_eq!(count("A") + count(&text), tokens);
        text
    };
    let post = |text: String| {
        let body = json!({"adapter": "kb", "documents": [{"title": "A", "text": text}]});
        json_of(server.post("/ingest").json(&body))
    };
    let (status, body) = post(text_of(most)).await;
    assert_eq!(status, 202, "{body}");
    let (status, body) = post(text_of(most + 1)).await;
    assert_eq!(status, 400, "{body}");
    let detail = body["detail"].as_str().unwrap();
    for figure in [(most + 1).to_string(), most.to_string(), "2048".to_owned()] {
        assert!(detail.contains(&figure), "{detail}");
    }
}
