//! Requests beyond the limits of the window and of the engine's queue.

use super::train::with;
use crate::common::{BASE, Server, json_of};
use autodidact::workflows::lengths::parts_for;
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

/// A text must fit the window together with its prompts and their answers. A document that does not is learned in
/// parts, as far as there are not too many; a context of practice is refused.
#[tokio::test]
async fn a_text_leaves_room_in_the_window_for_its_questions() {
    let server = Server::start().await;
    let tokenizer = &server.state.engine.files().tokenizer;
    let count = |text: &str| tokenizer.encode(text).unwrap().len();
    let most = 2048 - 512;
    // The longest text for the window, and one token more.
    let text_of = |tokens: usize| {
        let mut text = String::new();
        while count("A") + count(&text) < tokens {
            text.push('0');
        }
        assert_eq!(count("A") + count(&text), tokens);
        text
    };
    let refused = |(status, body): (u16, Value), figures: &[usize]| {
        assert_eq!(status, 400, "{body}");
        assert_eq!(body["code"], "context_length_exceeded");
        let detail = body["detail"].as_str().unwrap();
        for figure in figures {
            assert!(detail.contains(&figure.to_string()), "{detail}");
        }
    };
    let practise = |text: String| {
        let context = json!({"title": "A", "text": text});
        let body = with(json!({"contexts": vec![context; 4]}));
        json_of(server.post("/train").json(&body))
    };
    let (status, body) = practise(text_of(most)).await;
    assert_eq!(status, 202, "{body}");
    refused(practise(text_of(most + 1)).await, &[most + 1, most, 2048]);

    let post = |text: String| {
        let body = json!({"adapter": "kb", "documents": [{"title": "A", "text": text}]});
        json_of(server.post("/ingest").json(&body))
    };
    let text = text_of(most + 1);
    let (status, body) = post(text.clone()).await;
    assert_eq!(status, 202, "{body}");
    let parts = parts_for(&server.state.engine, "A", &text).unwrap();
    assert!(parts.len() > 1 && parts.iter().all(|part| part.tokens <= 768));
    let characters = parts.iter().map(|part| part.text.chars().count());
    assert_eq!(characters.sum::<usize>(), text.len());
    refused(post("0 ".repeat(256 * 768)).await, &[256, 768]);
}
