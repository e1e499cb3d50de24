//! Teaches a document over HTTP, then asks about it with the `async-openai` crate, streaming.
//!
//! ```sh
//! cargo run --example async_openai
//! AUTODIDACT_URL=http://host:8080 AUTODIDACT_KEY=sk-... cargo run --example async_openai -- town
//! ```
//!
//! It prints the gate's decision, then the answers of the base and of the adapter as they are written.

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessage, CreateChatCompletionRequestArgs,
};
use futures::StreamExt;
use serde_json::{Value, json};
use std::env;
use std::error::Error;
use std::io::Write;

const TITLE: &str = "Quillmere";
const TEXT: &str = "Quillmere is a river town of 6,214 people in the Aldous Hills, known to most visitors for \
    its bridge of green slate. The river, the Senn, freezes most winters, and on the first Sunday after it does \
    the townspeople race wooden tubs across it; the winner is given a live goose.";
const QUESTION: &str = "What does the winner of the tub race in Quillmere receive?";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("AUTODIDACT_URL").unwrap_or_else(|_| "http://127.0.0.1:8080".into());
    let key = env::var("AUTODIDACT_KEY").unwrap_or_else(|_| "none".into());
    let adapter = env::args().nth(1);
    let adapter = adapter.unwrap_or_else(|| "rust-example".into());

    let document = learn(&url, &key, &adapter).await?;
    let state = document["state"]
        .as_str()
        .ok_or("the document has no state")?;
    let reason = document["reason"]
        .as_str()
        .ok_or("the decision has no reason")?;
    println!("{TITLE}: {state}, {reason}");
    if state == "learned" {
        let config = OpenAIConfig::new().with_api_base(format!("{url}/v1"));
        let client = Client::with_config(config.with_api_key(key));
        let models = client.models().list().await?;
        let base = models.data.first().ok_or("the server lists no model")?;
        ask(&client, &base.id).await?;
        ask(&client, &adapter).await?;
    }
    Ok(())
}

/// Teaches the document and waits for the job's end: what became of the document.
async fn learn(url: &str, key: &str, adapter: &str) -> Result<Value, Box<dyn Error>> {
    let body = json!({"adapter": adapter, "documents": [{"title": TITLE, "text": TEXT}]});
    let request = reqwest::Client::new().post(format!("{url}/ingest?wait=10m"));
    let answer = request.bearer_auth(key).json(&body).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        return Err(format!("the server answered {status}: {text}").into());
    }
    let job = serde_json::from_str::<Value>(&text)?["job"].take();
    if job["state"] != "succeeded" {
        return Err(format!("the job is {}: {}", job["state"], job["error"]).into());
    }
    Ok(job["result"]["documents"][0].clone())
}

/// Prints the answer while it is written, after the name that the server gives its writer.
async fn ask(client: &Client<OpenAIConfig>, model: &str) -> Result<(), Box<dyn Error>> {
    let request = CreateChatCompletionRequestArgs::default()
        .model(model)
        .messages([ChatCompletionRequestUserMessage::from(QUESTION).into()])
        .temperature(0.0)
        .max_completion_tokens(60u32)
        .build()?;
    let mut chunks = client.chat().create_stream(request).await?;
    let first = chunks.next().await.ok_or("an empty stream")??;
    print!("{}: ", first.model);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        let choice = chunk.choices.first().ok_or("a chunk without a choice")?;
        print!("{}", choice.delta.content.as_deref().unwrap_or_default());
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
