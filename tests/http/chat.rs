//! Chats, through a client library for OpenAI.

use crate::common::{BASE, Server};
use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::chat::{
    ChatCompletionRequestMessage, ChatCompletionRequestUserMessage,
    ChatCompletionRequestUserMessageContent, ChatCompletionStreamOptions,
    CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
};
use futures::StreamExt;
use serde_json::{Value, json};

fn client(server: &Server) -> Client<OpenAIConfig> {
    let base = format!("{}/v1", server.url);
    Client::with_config(OpenAIConfig::new().with_api_base(base).with_api_key("none"))
}

fn request(model: &str) -> CreateChatCompletionRequestArgs {
    let content: ChatCompletionRequestUserMessageContent = "Who runs the lighthouse?".into();
    let message: ChatCompletionRequestUserMessage = content.into();
    let mut request = CreateChatCompletionRequestArgs::default();
    request
        .model(model)
        .messages([ChatCompletionRequestMessage::from(message)])
        .max_completion_tokens(12u32)
        .seed(7);
    request
}

#[tokio::test]
async fn a_client_library_gets_an_answer() {
    let server = Server::start().await;
    let request = request(BASE)
        .n(3u8)
        .logprobs(true)
        .top_logprobs(2u8)
        .build();
    let answer = client(&server)
        .chat()
        .create(request.unwrap())
        .await
        .unwrap();
    assert_eq!(answer.object, "chat.completion");
    assert_eq!(answer.model, BASE);
    assert!(answer.id.starts_with("chatcmpl-"));
    let indices: Vec<u32> = answer.choices.iter().map(|c| c.index).collect();
    assert_eq!(indices, [0, 1, 2]);
    let usage = answer.usage.unwrap();
    assert!(usage.prompt_tokens > 10 && usage.completion_tokens >= 3);
    assert_eq!(
        usage.total_tokens,
        usage.prompt_tokens + usage.completion_tokens
    );
    for choice in &answer.choices {
        let logprobs = choice.logprobs.as_ref().unwrap().content.as_ref().unwrap();
        for token in logprobs {
            assert!(token.logprob <= 0.0);
            assert_eq!(token.top_logprobs.len(), 2);
            assert!(token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob);
        }
        // Control tokens are sampled like others, but are not part of the text.
        let said = logprobs.iter().filter(|t| !t.token.starts_with("<|"));
        let bytes: Vec<u8> = said.flat_map(|t| t.bytes.clone().unwrap()).collect();
        let text = choice.message.content.as_ref().unwrap();
        assert_eq!(&String::from_utf8_lossy(&bytes), text);
    }
}

#[tokio::test]
async fn a_stream_adds_up_to_the_whole_answer() {
    let server = Server::start().await;
    let client = client(&server);
    let whole = client
        .chat()
        .create(request(BASE).build().unwrap())
        .await
        .unwrap();
    let mut streamed: CreateChatCompletionRequest = request(BASE).build().unwrap();
    streamed.stream_options = Some(ChatCompletionStreamOptions {
        include_usage: Some(true),
        include_obfuscation: None,
    });
    let mut stream = client.chat().create_stream(streamed).await.unwrap();
    let (mut text, mut reason, mut usage) = (String::new(), None, None);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        assert_eq!(chunk.object, "chat.completion.chunk");
        assert!(usage.is_none(), "the usage comes last");
        usage = chunk.usage;
        for choice in chunk.choices {
            text.push_str(&choice.delta.content.unwrap_or_default());
            reason = choice.finish_reason.or(reason);
        }
    }
    assert_eq!(Some(&text), whole.choices[0].message.content.as_ref());
    assert_eq!(reason, whole.choices[0].finish_reason);
    assert_eq!(usage.unwrap(), whole.usage.unwrap());
}

#[tokio::test]
async fn an_unknown_model_is_refused_and_never_the_base() {
    let server = Server::start().await;
    for model in ["gpt-4", "tiny@1", "no-such@7", "Bad Name", ""] {
        let answer = client(&server)
            .chat()
            .create(request(model).build().unwrap())
            .await;
        let Err(OpenAIError::ApiError(error)) = answer else {
            panic!("{model:?} answered {answer:?}");
        };
        assert_eq!(error.status_code, 404, "{model:?}");
        assert_eq!(error.api_error.code.as_deref(), Some("model_not_found"));
        assert_eq!(
            error.api_error.r#type.as_deref(),
            Some("invalid_request_error")
        );
    }
}

#[tokio::test]
async fn the_seed_decides_and_n_samples_differ() {
    let server = Server::start().await;
    let answer = async |more: Value| -> Vec<String> {
        let answer: Value = server.chat(BASE, more).await.json().await.unwrap();
        let choices = answer["choices"].as_array().unwrap();
        choices
            .iter()
            .map(|c| c["message"]["content"].to_string())
            .collect()
    };
    let first = answer(json!({"seed": 3, "n": 4})).await;
    assert_eq!(first, answer(json!({"seed": 3, "n": 4})).await);
    assert_ne!(first, answer(json!({"seed": 4, "n": 4})).await);
    assert_ne!(first[0], first[1]);
    // Sample i of seed s is sample 0 of seed s + i.
    assert_eq!(first[1], answer(json!({"seed": 4})).await[0]);
}

#[tokio::test]
async fn a_stop_string_ends_the_text_before_it() {
    let server = Server::start().await;
    let text = server.says(BASE).await;
    let (at, letter) = text.char_indices().nth(3).unwrap();
    let stop = letter.to_string();
    let expected = &text[..text.find(&stop).unwrap().min(at)];
    for stop in [json!(stop), json!(["never-said", stop])] {
        let answer = server
            .chat(BASE, json!({"temperature": 0, "stop": stop}))
            .await;
        let answer: Value = answer.json().await.unwrap();
        let choice = &answer["choices"][0];
        assert_eq!(choice["message"]["content"], expected);
        assert_eq!(choice["finish_reason"], "stop");
    }
}

#[tokio::test]
async fn content_may_come_in_text_parts_and_labels_are_ignored() {
    let server = Server::start().await;
    let parts =
        json!([{"type": "text", "text": "Who runs "}, {"type": "text", "text": "the lighthouse?"}]);
    let more = json!({"temperature": 0, "messages": [{"role": "user", "content": parts, "name": "ann"}],
        "user": "ann", "metadata": {"a": "b"}, "store": true, "tools": [], "tool_choice": "none",
        "response_format": {"type": "text"}, "logit_bias": {}, "something_new": null});
    let answer = server.chat(BASE, more).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        server.says(BASE).await
    );
}

#[tokio::test]
async fn models_are_the_base_and_the_live_adapters() {
    let server = Server::start().await;
    server.upload("kb", 1).await;
    let client = client(&server);
    let models = client.models().list().await.unwrap();
    let ids: Vec<&str> = models.data.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(ids, [BASE, "kb"]);
    let model = client.models().retrieve("kb@1").await.unwrap();
    assert_eq!(
        (model.id.as_str(), model.owned_by.as_str()),
        ("kb@1", "autodidact")
    );
    assert!(client.models().retrieve("none").await.is_err());
}

#[tokio::test]
async fn turns_without_content_and_empty_lists_of_calls_ask_for_nothing() {
    let server = Server::start().await;
    let prompt_tokens = async |assistant: Value| {
        let messages = json!([{"role": "user", "content": "Hello"}, assistant,
            {"role": "user", "content": "Bye"}]);
        let answer = server.chat(BASE, json!({"messages": messages})).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        answer["usage"]["prompt_tokens"].clone()
    };
    let said = prompt_tokens(json!({"role": "assistant", "content": "Hi"})).await;
    for same in [
        json!({"role": "assistant", "content": "Hi", "tool_calls": []}),
        json!({"tool_calls": null, "content": "Hi", "role": "assistant", "refusal": null}),
        json!({"role": "assistant", "content": [{"type": "text", "text": "Hi"}], "audio": null}),
    ] {
        assert_eq!(prompt_tokens(same).await, said);
    }
    let empty = prompt_tokens(json!({"role": "assistant", "content": ""})).await;
    for same in [
        json!({"role": "assistant", "content": null}),
        json!({"role": "assistant"}),
        json!({"role": "assistant", "content": []}),
        json!({"role": "assistant", "content": null, "tool_calls": [], "function_call": null}),
    ] {
        assert_eq!(prompt_tokens(same).await, empty);
    }
    for (message, field) in [
        (
            json!({"role": "user", "content": null}),
            "messages[1].content",
        ),
        (
            json!({"role": "assistant", "content": 4}),
            "messages[1].content",
        ),
        (
            json!({"role": "assistant", "tool_calls": [{}]}),
            "messages[1].tool_calls",
        ),
    ] {
        let messages = json!([{"role": "user", "content": "Hello"}, message]);
        let answer = server.chat(BASE, json!({"messages": messages})).await;
        assert_eq!(answer.status(), 400);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["error"]["param"], field, "{answer}");
    }
}
