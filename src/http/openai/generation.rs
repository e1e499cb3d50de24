//! Generation for one request: prompts go to the engine, deltas of text come back.
//!
//! The engine writes into a channel. When the client disconnects, the receiving end is dropped, the next write fails,
//! and the engine cancels the work. The generation holds its adapter, so it does not matter if the alias is moved or
//! deleted meanwhile.

use super::fields::Usage;
use super::offsets::Offsets;
use crate::adapters::Resolved;
use crate::http::common::error::Problem;
use crate::http::common::state::AppState;
use autodidact_engine::scheduler::{FinishReason, GenerateEvent, GenerateRequest, Priority};
use autodidact_engine::{Engine, SamplingParams, TokenLogprob};
use axum::http::StatusCode;
use serde::Serialize;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use uuid::Uuid;

/// A request to generate `n` samples of each prompt.
pub struct GenerationRequest {
    /// The model as the request names it.
    pub model: String,
    /// The adapter of each prompt, all of one version's routes.
    pub resolved: Vec<Resolved>,
    /// The request's field with the prompts, for errors.
    pub field: &'static str,
    pub prompts: Vec<Vec<u32>>,
    pub sampling: SamplingParams,
    pub n: usize,
    /// Whether log-probabilities name tokens by id (`token_id:123`).
    pub token_ids: bool,
}

/// A running generation.
pub struct Generation {
    pub metadata: Metadata,
    pub usage: Usage,
    /// The time of silence after which a stream shows that it is alive.
    pub heartbeat: Duration,
    engine: Engine,
    events: UnboundedReceiver<(usize, GenerateEvent)>,
    samples_per_prompt: usize,
    unfinished: usize,
    choices: usize,
    /// The end-of-sequence token does not end the answer.
    ignore_eos: bool,
    token_ids: bool,
    /// For each choice, how far its text has come.
    offsets: Vec<Offsets>,
    /// Held until the end, so that this version answers even if its alias moves.
    _resolved: Vec<Resolved>,
}

/// The data that a whole answer and each chunk repeat.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// Unique id. The routes add their own prefix.
    pub id: String,
    pub created: i64,
    pub model: String,
    pub system_fingerprint: String,
}

/// The addition of one event to one choice.
pub struct Delta {
    pub choice: usize,
    pub text: String,
    /// The token's log-probabilities, if requested and if the token is part of the text.
    pub logprob: Option<LoggedToken>,
    pub finish_reason: Option<&'static str>,
}

impl Delta {
    /// Whether the delta adds nothing, because a character or a stop string is still incomplete.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.logprob.is_none() && self.finish_reason.is_none()
    }
}

/// A whole choice.
#[derive(Default)]
pub struct Choice {
    pub text: String,
    pub logprobs: Vec<LoggedToken>,
    pub finish_reason: &'static str,
}

/// A token as text and bytes, with its log-probability.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LoggedToken {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
    pub top_logprobs: Vec<Alternative>,
    #[serde(skip)]
    #[schema(ignore)]
    pub id: u32,
    /// The place in the choice's text where the token begins, in characters.
    #[serde(skip)]
    #[schema(ignore)]
    pub offset: usize,
}

#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Alternative {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
    #[serde(skip)]
    #[schema(ignore)]
    pub id: u32,
}

impl Generation {
    /// Submits the prompts to the engine. Any refusal comes before the answer begins.
    pub fn start(state: &AppState, request: GenerationRequest) -> Result<Self, Problem> {
        let (sender, events) = unbounded_channel();
        let choices = request.prompts.len() * request.n;
        let routed = request.prompts.into_iter().zip(&request.resolved);
        for ((prompt, resolved), offset) in routed.zip((0..).step_by(request.n)) {
            let sender = sender.clone();
            let adapter = resolved.adapter.iter();
            let started = state.engine.generate(GenerateRequest {
                prompt,
                adapters: adapter.map(|loaded| loaded.lora.clone()).collect(),
                sampling: request.sampling.clone(),
                n: request.n,
                priority: Priority::Interactive,
                sink: Box::new(move |event| sender.send((offset, event)).is_ok()),
            });
            // Sampling was checked before, so an error of the engine is about the prompt.
            started.map_err(|error| match Problem::from(error) {
                problem if problem.status == StatusCode::BAD_REQUEST => {
                    problem.field(request.field)
                }
                problem => problem,
            })?;
        }
        Ok(Generation {
            metadata: Metadata {
                id: Uuid::now_v7().simple().to_string(),
                created: chrono::Utc::now().timestamp(),
                model: request.model,
                system_fingerprint: fingerprints(state, &request.resolved),
            },
            usage: Usage::default(),
            heartbeat: state.heartbeat,
            engine: state.engine.clone(),
            events,
            samples_per_prompt: request.n,
            unfinished: choices,
            choices,
            ignore_eos: request.sampling.ignore_eos,
            token_ids: request.token_ids,
            offsets: vec![Offsets::default(); choices],
            _resolved: request.resolved,
        })
    }

    /// Number of choices: the samples of all prompts.
    pub fn choices(&self) -> usize {
        self.choices
    }

    /// The next delta of any choice; `None` when all choices are finished.
    pub async fn next(&mut self) -> Option<Result<Delta, Problem>> {
        if self.unfinished == 0 {
            return None;
        }
        let Some((offset, event)) = self.events.recv().await else {
            self.unfinished = 0;
            return Some(Err(autodidact_engine::Error::Stopped.into()));
        };
        Some(self.delta(offset, event))
    }

    /// Waits for all choices, in order.
    pub async fn collect(&mut self) -> Result<Vec<Choice>, Problem> {
        let mut choices: Vec<Choice> = Vec::new();
        choices.resize_with(self.choices, Choice::default);
        while let Some(delta) = self.next().await {
            let delta = delta?;
            let choice = &mut choices[delta.choice];
            choice.text.push_str(&delta.text);
            choice.logprobs.extend(delta.logprob);
            choice.finish_reason = delta.finish_reason.unwrap_or(choice.finish_reason);
        }
        Ok(choices)
    }

    fn delta(&mut self, offset: usize, event: GenerateEvent) -> Result<Delta, Problem> {
        match event {
            GenerateEvent::Token {
                index,
                text,
                token,
                logprob,
            } => {
                // The token that ends the answer is not part of the answer.
                let files = self.engine.files();
                let end = !self.ignore_eos && files.eos.contains(&token);
                // Control tokens add nothing to the text.
                let bytes = match end || files.tokenizer.is_control(token) {
                    true => &[],
                    false => files.tokenizer.token_bytes(token),
                };
                let begins = self.offsets[offset + index].push(bytes);
                Ok(Delta {
                    choice: offset + index,
                    text,
                    logprob: logprob.filter(|_| !end).map(|l| self.spell(l, begins)),
                    finish_reason: None,
                })
            }
            GenerateEvent::Finished {
                index,
                reason,
                prompt_tokens,
                completion_tokens,
            } => {
                self.unfinished -= 1;
                // A prompt is computed only once for all its samples.
                if index + 1 == self.samples_per_prompt {
                    self.usage.prompt_tokens += prompt_tokens;
                }
                self.usage.completion_tokens += completion_tokens;
                self.usage.total_tokens = self.usage.prompt_tokens + self.usage.completion_tokens;
                Ok(Delta {
                    choice: offset + index,
                    text: String::new(),
                    logprob: None,
                    finish_reason: Some(match reason {
                        FinishReason::Stop => "stop",
                        FinishReason::Length | FinishReason::Cancelled => "length",
                    }),
                })
            }
            GenerateEvent::Failed { error } => {
                self.unfinished = 0;
                Err(Problem::internal(error))
            }
        }
    }

    fn spell(&self, logged: TokenLogprob, offset: usize) -> LoggedToken {
        let tokenizer = &self.engine.files().tokenizer;
        let spell = |id: u32, logprob: f32| Alternative {
            token: match self.token_ids {
                true => format!("token_id:{id}"),
                false => tokenizer.token_text(id).into_owned(),
            },
            // JSON has no minus infinity; OpenAI writes this for "as good as impossible".
            logprob: logprob.max(-9999.0),
            bytes: tokenizer.token_bytes(id).to_vec(),
            id,
        };
        let own = spell(logged.token, logged.logprob);
        LoggedToken {
            token: own.token,
            logprob: own.logprob,
            bytes: own.bytes,
            top_logprobs: logged.top.iter().map(|(t, l)| spell(*t, *l)).collect(),
            id: own.id,
            offset,
        }
    }
}

/// The fingerprints of all that write the answer, each once, in the order of the prompts.
fn fingerprints(state: &AppState, resolved: &[Resolved]) -> String {
    let mut all: Vec<String> = Vec::new();
    for one in resolved.iter().map(|one| fingerprint(state, one)) {
        if !all.contains(&one) {
            all.push(one);
        }
    }
    all.join("+")
}

/// The digest of the weights that wrote the answer: the adapter's or the base's.
fn fingerprint(state: &AppState, resolved: &Resolved) -> String {
    let (kind, digest) = match &resolved.adapter {
        Some(loaded) => ("lora", &loaded.digest),
        None => ("base", &state.engine.files().digest),
    };
    let hex = digest.trim_start_matches("sha256:");
    format!("{kind}-{}", &hex[..hex.len().min(12)])
}
