//! A client that disconnects cancels its work.

use crate::common::{BASE, Server, eventually};
use futures::StreamExt;
use serde_json::json;

const TOKENS: u64 = 1900;
const SAMPLES: u64 = 16;

#[tokio::test]
async fn a_dropped_stream_is_cancelled() {
    let server = Server::start().await;
    let more = json!({"stream": true, "max_tokens": TOKENS, "n": SAMPLES});
    let mut stream = server.chat(BASE, more).await.bytes_stream();
    stream.next().await.unwrap().unwrap();
    eventually("the samples running", || {
        server.state.engine.stats().running > 0
    })
    .await;
    drop(stream);
    stops_early(&server).await;
}

#[tokio::test]
async fn a_dropped_request_is_cancelled() {
    let server = Server::start().await;
    let request = server.chat(BASE, json!({"max_tokens": TOKENS, "n": SAMPLES}));
    let running = eventually("the samples running", || {
        server.state.engine.stats().running > 0
    });
    tokio::select! {
        answer = request => panic!("answered {answer:?} before it was dropped"),
        () = running => {}
    }
    stops_early(&server).await;
}

async fn stops_early(server: &Server) {
    let stats = || server.state.engine.stats();
    eventually("the engine at rest", || {
        stats().running == 0 && stats().kv_tokens == stats().prefix_tokens
    })
    .await;
    assert!(
        stats().completion_tokens < TOKENS * SAMPLES,
        "nothing was cancelled"
    );
    // Its place in the engine is free for others.
    assert!(!server.says(BASE).await.is_empty());
}
