//! `POST /v1/chat/completions`, as OpenAI's.

use super::error::Problem;
use super::extract::{Json as Body, from_value};
use super::generation::{About, Answer, Ask, Choice, LoggedToken, Piece};
use super::messages::{ChatMessage, messages};
use super::openai::{StreamOptions, Unsupported, Usage, empty, never, refuse, sse};
use super::sampling::SamplingFields;
use super::state::AppState;
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
    let request: ChatRequest = from_value(Value::Object(body))?;
    let stream = request.stream.unwrap_or(false);
    let usage = request.stream_options.is_some_and(|o| o.include_usage);
    let logprobs = logprobs(&request)?;
    let ask = state.blocking(move |state| prepare(state, request)).await?;
    let mut answer = Answer::start(&state, ask)?;
    if stream {
        return Ok(sse(chunks(answer, logprobs.is_some(), usage)).into_response());
    }
    let choices = answer.whole().await?;
    Ok(Json(response(&answer, choices, logprobs.is_some())).into_response())
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
    let resolved = state.registry.resolve(&request.model)?;
    let extra = request.chat_template_kwargs.unwrap_or_default();
    let prompt = render(state, &messages, &extra)?;
    Ok(Ask {
        resolved,
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
                logprobs: logprobs.then_some(ChatLogprobs {
                    content: choice.logprobs,
                }),
                finish_reason: choice.finish_reason,
            })
            .collect(),
        usage: answer.usage,
    }
}

/// A role for every choice, the pieces as they come, and the usage if asked for.
fn chunks(
    answer: Answer,
    logprobs: bool,
    usage: bool,
) -> impl futures::Stream<Item = Result<Value, Problem>> + Send {
    use futures::StreamExt;
    let about = answer.about.clone();
    let chunk = move |about: &About, choices: Value, total: Option<Usage>| {
        let mut chunk = json!({
            "id": format!("chatcmpl-{}", about.id),
            "object": "chat.completion.chunk",
            "created": about.created,
            "model": about.model,
            "system_fingerprint": about.system_fingerprint,
            "choices": choices,
        });
        if usage {
            chunk["usage"] = json!(total);
        }
        chunk
    };
    let roles: Vec<_> = (0..answer.choices())
        .map(|index| {
            let delta = json!({"role": "assistant", "content": ""});
            let choice =
                json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": null}]);
            Ok(chunk(&about, choice, None))
        })
        .collect();
    let rest = futures::stream::unfold((answer, usage), move |(mut answer, usage)| async move {
        loop {
            return match answer.next().await {
                None if usage => {
                    let last = chunk(&answer.about, json!([]), Some(answer.usage));
                    Some((Ok(last), (answer, false)))
                }
                None => None,
                // Nothing to tell yet: a character or a stop string is incomplete.
                Some(Ok(p))
                    if p.text.is_empty() && p.logprob.is_none() && p.finish_reason.is_none() =>
                {
                    continue;
                }
                Some(Ok(piece)) => {
                    let value = chunk(&answer.about, json!([delta(piece, logprobs)]), None);
                    Some((Ok(value), (answer, usage)))
                }
                Some(Err(problem)) => Some((Err(problem), (answer, false))),
            };
        }
    });
    futures::stream::iter(roles).chain(rest)
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
        "logprobs": logged.then_some(ChatLogprobs { content }),
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
