//! OpenAI's `POST /v1/completions`: plain text without a chat template.

use super::fields::{StreamOptions, Unsupported, empty, never, read, streaming};
use super::generation::{Choice, Delta, Generation, GenerationRequest, LoggedToken};
use super::response::{Described, Shape, send};
use super::sampling::SamplingFields;
use crate::adapters::Conversation;
use crate::http::common::error::Problem;
use crate::http::common::extract::Json as Body;
use crate::http::common::state::AppState;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// OpenAI's default of `max_tokens`.
const DEFAULT_TOKENS: usize = 16;
/// The most prompts of one request.
const MOST_PROMPTS: usize = 64;

#[derive(Debug, Deserialize, ToSchema)]
pub struct CompletionRequest {
    /// The base's id, an adapter's name, or `name@version`
    model: String,
    /// A string, a list of strings, token ids, or a list of lists of token ids
    #[schema(value_type = Value)]
    prompt: Prompt,
    /// Most tokens of the answer. Default 16
    max_tokens: Option<usize>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    /// Report the log-probabilities of every token and of this many alternatives, 0 to 5
    logprobs: Option<usize>,
    #[serde(flatten)]
    sampling: SamplingFields,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, a list of strings, or token ids"
)]
enum Prompt {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    TokenLists(Vec<Vec<u32>>),
}

pub type CompletionResponse = Described<Completion>;

/// The shape of plain completions.
pub struct Completion {
    /// Whether the client asked for log-probabilities.
    logprobs: bool,
    /// Number of characters already streamed, for each choice.
    streamed: Vec<usize>,
}

#[derive(Serialize, ToSchema)]
pub struct CompletionChoice {
    index: usize,
    text: String,
    #[schema(value_type = Option<Object>)]
    logprobs: Option<Value>,
    /// `stop` or `length`
    finish_reason: Option<&'static str>,
}

const UNSUPPORTED: [Unsupported; 4] = [
    Unsupported {
        field: "echo",
        harmless: |value| value == &Value::Bool(false),
        sentence: "echo is not supported.",
    },
    Unsupported {
        field: "best_of",
        harmless: |value| value.as_u64() == Some(1),
        sentence: "best_of is not supported; ask for n and choose.",
    },
    Unsupported {
        field: "suffix",
        harmless: never,
        sentence: "suffix is not supported.",
    },
    Unsupported {
        field: "logit_bias",
        harmless: empty,
        sentence: "logit_bias is not supported.",
    },
];

/// Continue a text
#[utoipa::path(post, path = "/v1/completions", tag = "openai", request_body = CompletionRequest,
    responses((status = 200, description = "The continuation; with `stream` as server-sent events", body = CompletionResponse)))]
pub async fn create_completion(
    State(state): State<AppState>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    let request: CompletionRequest = read(body, &UNSUPPORTED)?;
    let stream = streaming(request.stream, request.stream_options);
    let logprobs = request.logprobs.is_some();
    let request = state.blocking(move |state| prepare(state, request)).await?;
    let generation = Generation::start(&state, request)?;
    let shape = Completion {
        logprobs,
        streamed: vec![0; generation.choices()],
    };
    send(generation, shape, stream).await
}

fn prepare(state: &AppState, request: CompletionRequest) -> Result<GenerationRequest, Problem> {
    if let Some(top) = request.logprobs.filter(|top| *top > 5) {
        let detail = format!("logprobs is {top}; it must be from 0 to 5.");
        return Err(Problem::invalid("logprobs", detail));
    }
    let limit = request.max_tokens.unwrap_or(DEFAULT_TOKENS);
    let sampling = request.sampling.params(limit, request.logprobs)?;
    let n = request.sampling.samples()?;
    // One adapter answers all prompts of a request, so the router reads all prompts together.
    let question = match &request.prompt {
        Prompt::Text(text) => text.clone(),
        Prompt::Texts(texts) => texts.join(" "),
        Prompt::Tokens(_) | Prompt::TokenLists(_) => String::new(),
    };
    let question = Conversation::question(&question);
    let resolved = state.registry.resolve_for(&request.model, &question)?;
    let encode = |text: String| {
        let files = state.engine.files();
        let mut tokens: Vec<u32> = files.bos.into_iter().collect();
        tokens.extend(files.tokenizer.encode(&text)?);
        Ok(tokens)
    };
    let prompts = match request.prompt {
        Prompt::Text(text) => vec![encode(text)?],
        Prompt::Texts(texts) => texts
            .into_iter()
            .map(encode)
            .collect::<Result<_, Problem>>()?,
        Prompt::Tokens(tokens) => vec![tokens],
        Prompt::TokenLists(lists) => lists,
    };
    if !(1..=MOST_PROMPTS).contains(&prompts.len()) || prompts.iter().any(Vec::is_empty) {
        let detail = "prompt is one text or up to 64, none of them empty.";
        return Err(Problem::invalid("prompt", detail));
    }
    Ok(GenerationRequest {
        resolved,
        field: "prompt",
        prompts,
        sampling,
        n,
    })
}

impl Shape for Completion {
    type Choice = CompletionChoice;
    const SCHEMA: &'static str = "CompletionResponse";
    const CHOICES: Option<&'static str> = Some("`n` for each prompt, prompt by prompt");
    const ID_PREFIX: &'static str = "cmpl";
    const OBJECT: &'static str = "text_completion";
    const CHUNK_OBJECT: &'static str = "text_completion";

    fn choice(&self, index: usize, choice: Choice) -> CompletionChoice {
        CompletionChoice {
            index,
            text: choice.text,
            logprobs: self.logprobs.then(|| table(&choice.logprobs, &mut 0)),
            finish_reason: Some(choice.finish_reason),
        }
    }

    fn delta(&mut self, delta: Delta) -> Value {
        let logged = delta.logprob.as_slice();
        let offset = &mut self.streamed[delta.choice];
        json!(CompletionChoice {
            index: delta.choice,
            logprobs: (self.logprobs && !logged.is_empty()).then(|| table(logged, offset)),
            text: delta.text,
            finish_reason: delta.finish_reason,
        })
    }
}

/// The log-probabilities in the shape of plain completions: a list for each property. `offset`: number of characters
/// before the first token.
fn table(tokens: &[LoggedToken], offset: &mut usize) -> Value {
    let offsets: Vec<usize> = tokens
        .iter()
        .map(|t| {
            let start = *offset;
            *offset += t.token.chars().count();
            start
        })
        .collect();
    let top = |t: &LoggedToken| -> Map<String, Value> {
        let pairs = t.top_logprobs.iter();
        pairs.map(|a| (a.token.clone(), json!(a.logprob))).collect()
    };
    json!({
        "tokens": tokens.iter().map(|t| &t.token).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|t| t.logprob).collect::<Vec<_>>(),
        "top_logprobs": tokens.iter().map(top).collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}
