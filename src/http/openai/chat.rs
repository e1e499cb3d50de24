//! OpenAI's `POST /v1/chat/completions`.

use super::fields::{StreamOptions, read, streaming, unsupported};
use super::generation::{Choice, Delta, Generation, GenerationRequest, LoggedToken};
use super::messages::{ChatMessage, messages};
use super::parameters::Route;
use super::response::{Described, Shape, StreamEvent, send};
use super::sampling::{SamplingFields, check_limit};
use crate::adapters::Conversation;
use crate::http::common::error::Problem;
use crate::http::common::extract::Json as Body;
use crate::http::common::state::AppState;
use autodidact_engine::Message;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
pub struct ChatRequest {
    /// The base's id, an adapter's name, or `name@version`
    model: String,
    messages: Vec<ChatMessage>,
    /// Most tokens of the answer. Default: as many as fit the window
    #[schema(minimum = 1)]
    max_completion_tokens: Option<usize>,
    /// The older name of `max_completion_tokens`
    #[schema(minimum = 1)]
    max_tokens: Option<usize>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// Report the log-probability of every token
    logprobs: Option<bool>,
    /// Number of alternatives to report for every token; above 0 only with `logprobs`
    #[schema(minimum = 0, maximum = 20)]
    top_logprobs: Option<usize>,
    /// Variables for the chat template, such as `{"enable_thinking": false}` (a field of vLLM's)
    #[schema(value_type = Option<Object>)]
    chat_template_kwargs: Option<Map<String, Value>>,
    /// Whether the prompt ends with the beginning of an answer (a field of vLLM's). Default true
    add_generation_prompt: Option<bool>,
    /// Only `none`, which tells the chat template not to think
    #[schema(pattern = "^none$")]
    reasoning_effort: Option<String>,
    #[serde(flatten)]
    sampling: SamplingFields,
}

pub type ChatResponse = Described<Chat>;

/// The shape of chat answers.
pub struct Chat {
    /// Whether the client asked for log-probabilities.
    logprobs: bool,
}

#[derive(Serialize, ToSchema)]
pub struct ChatChoice {
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

/// Answer a chat
#[utoipa::path(post, path = "/v1/chat/completions", tag = "openai", request_body = ChatRequest,
    responses((status = 200, description = "The answer; with `stream` as server-sent events", content((ChatResponse = "application/json"), (StreamEvent = "text/event-stream")))))]
pub async fn create_chat_completion(
    State(state): State<AppState>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    let request: ChatRequest = read(body, Route::Chat)?;
    let stream = streaming(request.stream, request.stream_options);
    let logprobs = logprobs(&request)?.is_some();
    let request = state.blocking(move |state| prepare(state, request)).await?;
    let generation = Generation::start(&state, request)?;
    send(generation, Chat { logprobs }, stream).await
}

/// The text of the first choice, and the fingerprint of the adapter or base that wrote it.
pub async fn answer(state: &AppState, request: ChatRequest) -> Result<(String, String), Problem> {
    let request = state.blocking(move |state| prepare(state, request)).await?;
    let mut generation = Generation::start(state, request)?;
    let choices = generation.collect().await?;
    let first = choices.into_iter().next().unwrap_or_default();
    Ok((first.text, generation.metadata.system_fingerprint))
}

impl ChatRequest {
    /// A chat request with greedy decoding and an answer of at most `max_tokens`.
    pub fn greedy(model: &str, messages: Vec<ChatMessage>, max_tokens: usize) -> Self {
        ChatRequest {
            model: model.to_owned(),
            messages,
            max_completion_tokens: None,
            max_tokens: Some(max_tokens),
            stream: None,
            stream_options: None,
            logprobs: None,
            top_logprobs: None,
            chat_template_kwargs: None,
            add_generation_prompt: None,
            reasoning_effort: None,
            sampling: SamplingFields::greedy(),
        }
    }
}

/// Resolves the adapter and renders the messages to tokens.
fn prepare(state: &AppState, request: ChatRequest) -> Result<GenerationRequest, Problem> {
    let limit = limit(&request)?;
    let logprobs = logprobs(&request)?;
    let sampling = request.sampling.params(limit, logprobs)?;
    let n = request.sampling.samples()?;
    let messages = messages(request.messages)?;
    let spoken = messages
        .iter()
        .map(|m| (m.role.as_str(), m.content.as_str()));
    let conversation = Conversation::new(spoken);
    let registry = &state.registry;
    let resolved = registry.resolve_for(&request.model, &[conversation])?;
    let mut extra = request.chat_template_kwargs.unwrap_or_default();
    if no_reasoning(request.reasoning_effort.as_deref())? {
        let thinking = extra.entry("enable_thinking");
        thinking.or_insert(Value::Bool(false));
    }
    let opened = variables(&mut extra)?.or(request.add_generation_prompt);
    let prompt = render(state, &messages, opened.unwrap_or(true), &extra)?;
    Ok(GenerationRequest {
        model: request.model,
        resolved,
        field: "messages",
        prompts: vec![prompt],
        sampling,
        n,
        token_ids: request.sampling.token_ids(),
    })
}

/// The most tokens of the answer, by either of the two names.
fn limit(request: &ChatRequest) -> Result<usize, Problem> {
    let given = [
        ("max_completion_tokens", request.max_completion_tokens),
        ("max_tokens", request.max_tokens),
    ];
    for (name, tokens) in given {
        check_limit(name, tokens)?;
    }
    let [newer, older] = given.map(|(_, tokens)| tokens);
    Ok(newer.or(older).unwrap_or(usize::MAX))
}

/// Names that mean something to those who call a template, and would be lost among its variables.
const NO_VARIABLES: [&str; 4] = [
    "messages",
    "chat_template",
    "continue_final_message",
    "tokenize",
];

/// Takes `add_generation_prompt` out of the template's variables, where vLLM lets it stand, too. Refuses names that
/// are no variables.
fn variables(extra: &mut Map<String, Value>) -> Result<Option<bool>, Problem> {
    let at = |name: &str| format!("chat_template_kwargs.{name}");
    for name in NO_VARIABLES {
        let given = extra.get(name).unwrap_or(&Value::Null);
        if !matches!(given, Value::Null | Value::Bool(false)) {
            let detail = format!("{name} is not a variable of the chat template.");
            return Err(Problem::invalid(at(name), detail));
        }
    }
    match extra.shift_remove("add_generation_prompt") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(opened)) => Ok(Some(opened)),
        Some(_) => {
            let name = "add_generation_prompt";
            let detail = "add_generation_prompt is true or false.";
            Err(Problem::invalid(at(name), detail))
        }
    }
}

fn render(
    state: &AppState,
    messages: &[Message],
    opened: bool,
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
    let tokens = template.render_tokens(&files.tokenizer, messages, opened, extra);
    tokens.map_err(|error| match error {
        // A template may refuse messages (for example roles that do not alternate) in its own words.
        autodidact_engine::Error::Template(reason) => {
            let detail = format!("The model's chat template refuses these messages: {reason}.");
            Problem::invalid("messages", detail)
        }
        other => other.into(),
    })
}

/// Whether the request asks for no reasoning. Other efforts are refused.
fn no_reasoning(effort: Option<&str>) -> Result<bool, Problem> {
    match effort {
        None | Some("") => Ok(false),
        Some("none") => Ok(true),
        Some(_) => Err(unsupported(
            "reasoning_effort",
            "Of reasoning_effort only 'none' is supported; give the template's own switch in chat_template_kwargs.",
        )),
    }
}

fn logprobs(request: &ChatRequest) -> Result<Option<usize>, Problem> {
    let wanted = request.logprobs.unwrap_or(false);
    match request.top_logprobs {
        Some(top) if top > 20 => {
            let detail = format!("top_logprobs is {top}; it must be from 0 to 20.");
            Err(Problem::invalid("top_logprobs", detail))
        }
        Some(1..) if !wanted => Err(Problem::invalid(
            "top_logprobs",
            "top_logprobs needs \"logprobs\": true.",
        )),
        top => Ok(wanted.then_some(top.unwrap_or(0))),
    }
}

impl Shape for Chat {
    type Choice = ChatChoice;
    const SCHEMA: &'static str = "ChatResponse";
    const CHOICES: Option<&'static str> = None;
    const ID_PREFIX: &'static str = "chatcmpl";
    const OBJECT: &'static str = "chat.completion";
    const CHUNK_OBJECT: &'static str = "chat.completion.chunk";

    fn choice(&self, index: usize, choice: Choice) -> ChatChoice {
        ChatChoice {
            index,
            message: Reply {
                role: "assistant",
                content: choice.text,
                refusal: None,
            },
            logprobs: self.logprobs.then(|| ChatLogprobs::new(choice.logprobs)),
            finish_reason: choice.finish_reason,
        }
    }

    fn opening(&self, index: usize) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": ""});
        Some(json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null}))
    }

    fn delta(&mut self, delta: Delta) -> Value {
        let content = match delta.finish_reason {
            Some(_) => json!({}),
            None => json!({"content": delta.text}),
        };
        let tokens: Vec<LoggedToken> = delta.logprob.into_iter().collect();
        let logged = self.logprobs && !tokens.is_empty();
        json!({
            "index": delta.choice,
            "delta": content,
            "logprobs": logged.then(|| ChatLogprobs::new(tokens)),
            "finish_reason": delta.finish_reason,
        })
    }
}
