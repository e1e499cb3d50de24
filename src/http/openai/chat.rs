//! `POST /v1/chat/completions`, as OpenAI's.

use super::fields::{StreamOptions, Unsupported, Usage, empty, never, refuse};
use super::generation::{About, Answer, Ask, Choice, LoggedToken, Piece};
use super::messages::{ChatMessage, messages};
use super::sampling::SamplingFields;
use super::stream::{Form, sse};
use crate::http::common::error::Problem;
use crate::http::common::extract::{Json as Body, from_value};
use crate::http::common::state::AppState;
use autodidact_engine::Message;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
pub struct ChatRequest {
    /// The base's id, an adapter's name, or `name@version`
    model: String,
    messages: Vec<ChatMessage>,
    /// Default: as many as fit the window
    max_completion_tokens: Option<usize>,
    /// The older name of `max_completion_tokens`
    max_tokens: Option<usize>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    /// Report the log-probability of every token
    logprobs: Option<bool>,
    /// And of this many alternatives, 0 to 20
    top_logprobs: Option<usize>,
    /// Goes to the chat template, such as `{"enable_thinking": false}` (vLLM's)
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    chat_template_kwargs: Option<Map<String, Value>>,
    #[serde(flatten)]
    sampling: SamplingFields,
}

#[derive(Serialize, ToSchema)]
pub struct ChatResponse {
    id: String,
    /// `chat.completion`
    object: &'static str,
    created: i64,
    model: String,
    /// Names the adapter (or base) that wrote the answer
    system_fingerprint: String,
    choices: Vec<ChatChoice>,
    usage: Usage,
}

#[derive(Serialize, ToSchema)]
struct ChatChoice {
    index: usize,
    message: Reply,
    logprobs: Option<ChatLogprobs>,
    /// `stop` or `length`
    finish_reason: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Reply {
    role: &'static str,
    content: String,
    refusal: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct ChatLogprobs {
    content: Vec<LoggedToken>,
    /// Always null: this server's models do not mark refusals
    refusal: Option<Vec<LoggedToken>>,
}

impl ChatLogprobs {
    fn new(content: Vec<LoggedToken>) -> Self {
        ChatLogprobs {
            content,
            refusal: None,
        }
    }
}

const UNSUPPORTED: [Unsupported; 10] = {
    const fn rule(
        field: &'static str,
        harmless: fn(&Value) -> bool,
        sentence: &'static str,
    ) -> Unsupported {
        Unsupported {
            field,
            harmless,
            sentence,
        }
    }
    [
        rule("tools", empty, "Tools are not supported."),
        rule("functions", empty, "Functions are not supported."),
        rule("tool_choice", no_choice, "Tools are not supported."),
        rule("function_call", no_choice, "Functions are not supported."),
        rule(
            "response_format",
            text_format,
            "Only the response format 'text' is supported.",
        ),
        rule("logit_bias", empty, "logit_bias is not supported."),
        rule("modalities", text_only, "Only text is supported."),
        rule("audio", never, "Audio is not supported."),
        rule("prediction", never, "Predicted outputs are not supported."),
        rule("web_search_options", never, "Web search is not supported."),
    ]
};

/// Answer a chat
#[utoipa::path(post, path = "/v1/chat/completions", tag = "openai", request_body = ChatRequest,
    responses((status = 200, description = "The answer; with `stream` as server-sent events", body = ChatResponse)))]
pub async fn create_chat_completion(
    State(state): State<AppState>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    refuse(&body, &UNSUPPORTED)?;
    // Serde forgets where it was inside flattened fields, so those are read by themselves first.
    from_value::<SamplingFields>(&body)?;
    let request: ChatRequest = from_value(Value::Object(body))?;
    let stream = request.stream.unwrap_or(false);
    let usage = request.stream_options.is_some_and(|o| o.include_usage);
    let logprobs = logprobs(&request)?;
    let ask = state.blocking(move |state| prepare(state, request)).await?;
    let mut answer = Answer::start(&state, ask)?;
    if stream {
        let form = Form {
            prefix: "chatcmpl",
            object: "chat.completion.chunk",
            usage,
        };
        let roles = (0..answer.choices()).map(role).collect();
        let logprobs = logprobs.is_some();
        return Ok(sse(answer, form, roles, move |piece| {
            delta(piece, logprobs)
        }));
    }
    let choices = answer.whole().await?;
    Ok(Json(response(&answer, choices, logprobs.is_some())).into_response())
}

/// The text of the first choice and who wrote it, for those who ask from within.
pub async fn answer(
    state: &AppState,
    body: Map<String, Value>,
) -> Result<(String, String), Problem> {
    from_value::<SamplingFields>(&body)?;
    let request: ChatRequest = from_value(Value::Object(body))?;
    let ask = state.blocking(move |state| prepare(state, request)).await?;
    let mut answer = Answer::start(state, ask)?;
    let first = answer.whole().await?.into_iter().next().unwrap_or_default();
    Ok((first.text, answer.about.system_fingerprint.clone()))
}

/// From the request to tokens.
fn prepare(state: &AppState, request: ChatRequest) -> Result<Ask, Problem> {
    let limit = request.max_completion_tokens.or(request.max_tokens);
    let logprobs = logprobs(&request)?;
    let sampling = request
        .sampling
        .params(limit.unwrap_or(usize::MAX), logprobs)?;
    let n = request.sampling.samples()?;
    let messages = messages(request.messages)?;
    let question = messages.iter().rev().find(|m| m.role == "user");
    let question = question.map_or("", |m| m.content.as_str());
    let resolved = state.registry.resolve_for(&request.model, question)?;
    let extra = request.chat_template_kwargs.unwrap_or_default();
    let prompt = render(state, &messages, &extra)?;
    Ok(Ask {
        resolved,
        field: "messages",
        prompts: vec![prompt],
        sampling,
        n,
    })
}

fn render(
    state: &AppState,
    messages: &[Message],
    extra: &Map<String, Value>,
) -> Result<Vec<u32>, Problem> {
    let files = state.engine.files();
    let Some(template) = &files.chat_template else {
        return Err(Problem::bad_request(
            "no_chat_template",
            "This model has no chat template; use /v1/completions.",
        )
        .field("model"));
    };
    let tokens = template.render_tokens(&files.tokenizer, messages, true, extra);
    tokens.map_err(|error| match error {
        // A template may refuse what it is given (roles that do not alternate …) in its own words.
        autodidact_engine::Error::Template(reason) => {
            let detail = format!("The model's chat template refuses these messages: {reason}.");
            Problem::invalid("messages", detail)
        }
        other => other.into(),
    })
}

fn logprobs(request: &ChatRequest) -> Result<Option<usize>, Problem> {
    let wanted = request.logprobs.unwrap_or(false);
    match request.top_logprobs {
        Some(top) if top > 20 => {
            let detail = format!("top_logprobs is {top}; it must be from 0 to 20.");
            Err(Problem::invalid("top_logprobs", detail))
        }
        Some(_) if !wanted => Err(Problem::invalid(
            "top_logprobs",
            "top_logprobs needs \"logprobs\": true.",
        )),
        top => Ok(wanted.then_some(top.unwrap_or(0))),
    }
}

fn response(answer: &Answer, choices: Vec<Choice>, logprobs: bool) -> ChatResponse {
    let About {
        id,
        created,
        model,
        system_fingerprint,
    } = answer.about.clone();
    let choices = choices.into_iter().enumerate();
    ChatResponse {
        id: format!("chatcmpl-{id}"),
        object: "chat.completion",
        created,
        model,
        system_fingerprint,
        choices: choices
            .map(|(index, choice)| ChatChoice {
                index,
                message: Reply {
                    role: "assistant",
                    content: choice.text,
                    refusal: None,
                },
                logprobs: logprobs.then(|| ChatLogprobs::new(choice.logprobs)),
                finish_reason: choice.finish_reason,
            })
            .collect(),
        usage: answer.usage,
    }
}

/// What a choice's chunks begin with.
fn role(index: usize) -> Value {
    let delta = json!({"role": "assistant", "content": ""});
    json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null})
}

fn delta(piece: Piece, logprobs: bool) -> Value {
    let delta = match piece.finish_reason {
        Some(_) => json!({}),
        None => json!({"content": piece.text}),
    };
    let content: Vec<LoggedToken> = piece.logprob.into_iter().collect();
    let logged = logprobs && !content.is_empty();
    json!({
        "index": piece.choice,
        "delta": delta,
        "logprobs": logged.then(|| ChatLogprobs::new(content)),
        "finish_reason": piece.finish_reason,
    })
}

fn no_choice(value: &Value) -> bool {
    matches!(value.as_str(), Some("none" | "auto"))
}

fn text_format(value: &Value) -> bool {
    value.get("type").and_then(Value::as_str) == Some("text")
}

fn text_only(value: &Value) -> bool {
    value == &json!(["text"])
}
