//! OpenAI's `POST /v1/completions`: plain text without a chat template.

use super::fields::{StreamOptions, read, streaming};
use super::generation::{Choice, Delta, Generation, GenerationRequest, LoggedToken};
use super::parameters::Route;
use super::response::{Described, Shape, StreamEvent, send};
use super::sampling::{SamplingFields, check_limit};
use crate::adapters::Conversation;
use crate::http::common::error::Problem;
use crate::http::common::extract::Json as Body;
use crate::http::common::state::AppState;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
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
    #[schema(minimum = 1)]
    max_tokens: Option<usize>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    /// Report the log-probabilities of every token and of this many alternatives
    #[schema(minimum = 0, maximum = 5)]
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
}

#[derive(Serialize, ToSchema)]
pub struct CompletionChoice {
    index: usize,
    text: String,
    logprobs: Option<CompletionLogprobs>,
    /// `stop` or `length`
    finish_reason: Option<&'static str>,
}

/// Continue a text
#[utoipa::path(post, path = "/v1/completions", tag = "openai", request_body = CompletionRequest,
    responses((status = 200, description = "The continuation; with `stream` as server-sent events", content((CompletionResponse = "application/json"), (StreamEvent = "text/event-stream")))))]
pub async fn create_completion(
    State(state): State<AppState>,
    Body(body): Body<Map<String, Value>>,
) -> Result<Response, Problem> {
    let request: CompletionRequest = read(body, Route::Completions)?;
    let stream = streaming(request.stream, request.stream_options);
    let logprobs = request.logprobs.is_some();
    let request = state.blocking(move |state| prepare(state, request)).await?;
    let generation = Generation::start(&state, request)?;
    send(generation, Completion { logprobs }, stream).await
}

fn prepare(state: &AppState, request: CompletionRequest) -> Result<GenerationRequest, Problem> {
    if let Some(top) = request.logprobs.filter(|top| *top > 5) {
        let detail = format!("logprobs is {top}; it must be from 0 to 5.");
        return Err(Problem::invalid("logprobs", detail));
    }
    check_limit("max_tokens", request.max_tokens)?;
    let limit = request.max_tokens.unwrap_or(DEFAULT_TOKENS);
    let sampling = request.sampling.params(limit, request.logprobs)?;
    let n = request.sampling.samples()?;
    let token_ids = request.sampling.token_ids();
    let files = state.engine.files();
    let text = |tokens: &Vec<u32>| files.tokenizer.decode(tokens, true);
    let encode = |text: &String| -> Result<Vec<u32>, Problem> {
        let mut tokens: Vec<u32> = files.bos.into_iter().collect();
        tokens.extend(files.tokenizer.encode(text)?);
        Ok(tokens)
    };
    // What the router reads of each prompt, and what the engine reads.
    let (read, prompts): (Vec<String>, Vec<Vec<u32>>) = match request.prompt {
        Prompt::Text(text) => (vec![text.clone()], vec![encode(&text)?]),
        Prompt::Texts(texts) => {
            let tokens = texts.iter().map(encode).collect::<Result<_, _>>()?;
            (texts, tokens)
        }
        Prompt::Tokens(tokens) => (vec![text(&tokens)], vec![tokens]),
        Prompt::TokenLists(lists) => (lists.iter().map(text).collect(), lists),
    };
    if !(1..=MOST_PROMPTS).contains(&prompts.len()) || prompts.iter().any(Vec::is_empty) {
        let detail = "prompt is one text or up to 64, none of them empty.";
        return Err(Problem::invalid("prompt", detail));
    }
    let questions: Vec<_> = read.iter().map(|r| Conversation::question(r)).collect();
    let resolved = state.registry.resolve_for(&request.model, &questions)?;
    Ok(GenerationRequest {
        model: request.model,
        resolved,
        field: "prompt",
        prompts,
        sampling,
        n,
        token_ids,
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
            logprobs: self.logprobs.then(|| {
                let mut table = CompletionLogprobs::new(&choice.logprobs);
                // The tokens of a stop string lie beyond the text.
                let end = choice.text.chars().count();
                table
                    .text_offset
                    .iter_mut()
                    .for_each(|at| *at = end.min(*at));
                table
            }),
            text: choice.text,
            finish_reason: Some(choice.finish_reason),
        }
    }

    fn delta(&mut self, delta: Delta) -> Value {
        let logged = delta.logprob.as_slice();
        json!(CompletionChoice {
            index: delta.choice,
            logprobs: (self.logprobs && !logged.is_empty())
                .then(|| CompletionLogprobs::new(logged)),
            text: delta.text,
            finish_reason: delta.finish_reason,
        })
    }
}

/// The log-probabilities in the shape of plain completions: a list for each property.
#[derive(Serialize, ToSchema)]
struct CompletionLogprobs {
    /// A token that is not a whole text is `bytes:` and its bytes as `\\xe2`; a second token of the same spelling is
    /// `token_id:` and its number
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    /// The drawn token and the most likely ones, each with its log-probability
    top_logprobs: Vec<BTreeMap<String, f32>>,
    /// The character of the answer's text that each token begins in, from 0
    text_offset: Vec<usize>,
}

impl CompletionLogprobs {
    fn new(logged: &[LoggedToken]) -> Self {
        CompletionLogprobs {
            tokens: logged
                .iter()
                .map(|t| spelling(&t.token, &t.bytes))
                .collect(),
            token_logprobs: logged.iter().map(|t| t.logprob).collect(),
            top_logprobs: logged.iter().map(alternatives).collect(),
            text_offset: logged.iter().map(|t| t.offset).collect(),
        }
    }
}

/// The drawn token and its alternatives. Different tokens have different names here, even if they have the same text.
fn alternatives(drawn: &LoggedToken) -> BTreeMap<String, f32> {
    let own = spelling(&drawn.token, &drawn.bytes);
    let mut named = BTreeMap::from([(own, drawn.logprob)]);
    for other in drawn.top_logprobs.iter().filter(|t| t.id != drawn.id) {
        let text = spelling(&other.token, &other.bytes);
        let name = match named.contains_key(&text) {
            true => format!("token_id:{}", other.id),
            false => text,
        };
        named.insert(name, other.logprob);
    }
    named
}

/// A token as a name: its text, or its bytes if they are not a text by themselves (as OpenAI writes them).
fn spelling(token: &str, bytes: &[u8]) -> String {
    match token.contains('\u{FFFD}') && std::str::from_utf8(bytes).is_err() {
        true => bytes.iter().fold("bytes:".to_owned(), |name, byte| {
            format!("{name}\\x{byte:02x}")
        }),
        false => token.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::generation::Alternative;
    use super::*;

    fn alternative(id: u32, bytes: &[u8], logprob: f32) -> Alternative {
        Alternative {
            token: String::from_utf8_lossy(bytes).into_owned(),
            logprob,
            bytes: bytes.to_vec(),
            id,
        }
    }

    #[test]
    fn tokens_of_equal_text_are_listed_apart() {
        let top = [
            alternative(1, b"A", -0.5),
            // Two halves of characters, both of which read as U+FFFD.
            alternative(2, b"\xe2\x80", -1.0),
            alternative(3, b"\xf0", -2.0),
            // Another token of the same text as the drawn one, and one that is the sign itself.
            alternative(4, b"A", -3.0),
            alternative(5, "\u{FFFD}".as_bytes(), -4.0),
        ];
        let Alternative {
            token,
            logprob,
            bytes,
            id,
        } = top[0].clone();
        let drawn = LoggedToken {
            token,
            logprob,
            bytes,
            id,
            top_logprobs: top.to_vec(),
            offset: 7,
        };
        let table = CompletionLogprobs::new(&[drawn]);
        let named = BTreeMap::from(
            [
                ("A", -0.5),
                ("bytes:\\xe2\\x80", -1.0),
                ("bytes:\\xf0", -2.0),
                ("token_id:4", -3.0),
                ("\u{FFFD}", -4.0),
            ]
            .map(|(name, logprob)| (name.to_owned(), logprob)),
        );
        assert_eq!(table.top_logprobs, [named]);
        assert_eq!((table.tokens[0].as_str(), table.text_offset[0]), ("A", 7));
    }

    #[test]
    fn a_drawn_token_is_listed_even_if_it_was_unlikely() {
        let Alternative {
            token,
            logprob,
            bytes,
            id,
        } = alternative(9, b"z", -8.0);
        let drawn = LoggedToken {
            token,
            logprob,
            bytes,
            id,
            top_logprobs: vec![alternative(1, b"A", -0.5)],
            offset: 0,
        };
        assert_eq!(
            alternatives(&drawn).into_keys().collect::<Vec<_>>(),
            ["A", "z"]
        );
    }
}
