//! The scheduler: one thread owns the executor and shares it between generation, scoring and training.
//!
//! Each turn is one packed forward pass that moves every running sequence on by a token and feeds
//! prompts in, then at most one slice of scoring and one of training. A slice of training is one layer
//! of one pass, so that neither a stream nor a new request waits longer than that, however long the
//! training is; while somebody watches a stream, slices get only a share of the time, so that most of
//! its tokens do not wait at all. Interactive requests are admitted first, then ingest, then the outer
//! loop; background work never keeps an interactive request from a place. What prompts have in common
//! is computed [once](prefix).
//!
//! [`Engine`] is the handle; what it is asked becomes a [`Command`](worker::Command) to the thread.

mod engine;
mod generation;
mod prefix;
mod scoring;
mod text;
mod training;
mod worker;

pub use engine::Engine;
pub use text::TextStream;

use crate::lora::Lora;
use crate::sampler::{SamplingParams, TokenLogprob};
use crate::trainer::{Example, StepReport, TrainConfig};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whose work goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Someone is waiting for the answer.
    Interactive,
    /// A posted document is being learned.
    Ingest,
    /// Practice in the background.
    Outer,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineOptions {
    /// Tokens in one packed forward pass.
    pub max_batch_tokens: usize,
    /// Interactive sequences generating at once, where there is memory for them (`kv_budget_tokens`).
    pub max_sequences: usize,
    /// Background sequences start while no more than this many generate in all: more would make a step long
    /// for whoever comes next.
    pub background_sequences: usize,
    /// Interactive requests that may wait for a place; more are refused.
    pub max_waiting: usize,
    /// Tokens of a training pass, or of scoring between two decoding steps, while someone watches a stream;
    /// and of a training pass that begins within ten seconds after.
    pub train_slice_tokens: usize,
    /// The part of the time that training and scoring may take while someone watches a stream: so
    /// few of its tokens have to wait for a slice.
    pub train_share: f32,
    /// The context window; the model's own if `None` or larger than that.
    pub window: Option<usize>,
    /// Tokens whose keys and values are kept after their sequence ended, for prompts that start
    /// alike. 0: every prompt is computed whole, also beside others that start alike.
    pub cache_tokens: usize,
    /// Tokens for whose keys and values there is memory: those of running sequences, with all they
    /// may still generate, and those kept. A request waits until it fits.
    pub kv_budget_tokens: usize,
}

impl EngineOptions {
    /// Sequences that may generate at once.
    pub(crate) fn places(&self, priority: Priority) -> usize {
        match priority {
            Priority::Interactive => self.max_sequences,
            Priority::Ingest | Priority::Outer => self.background_sequences,
        }
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            max_batch_tokens: 512,
            max_sequences: 256,
            background_sequences: 32,
            max_waiting: 256,
            train_slice_tokens: 128,
            train_share: 0.3,
            window: None,
            cache_tokens: 16_384,
            kv_budget_tokens: 65_536,
        }
    }
}

/// Takes the events of one request, on the engine's thread: it must not block. `false` says that
/// nobody listens any more and cancels the request.
pub type Sink = Box<dyn FnMut(GenerateEvent) -> bool + Send>;

pub struct GenerateRequest {
    pub prompt: Vec<u32>,
    pub adapters: Vec<Arc<Lora>>,
    pub sampling: SamplingParams,
    /// Samples from one prompt, which is computed once; sample i uses seed + i.
    pub n: usize,
    pub priority: Priority,
    pub sink: Sink,
}

/// A [`GenerateRequest`] for [`Engine::complete`].
#[derive(Debug, Clone)]
pub struct CompleteRequest {
    pub prompt: Vec<u32>,
    pub adapters: Vec<Arc<Lora>>,
    pub sampling: SamplingParams,
    pub n: usize,
    pub priority: Priority,
}

#[derive(Debug, Clone, PartialEq)]
pub enum GenerateEvent {
    /// One for every generated token, the end-of-sequence token included.
    Token {
        /// Which of the n samples.
        index: usize,
        /// What this token adds to the text; empty while a character or a possible stop string is
        /// incomplete.
        text: String,
        token: u32,
        logprob: Option<TokenLogprob>,
    },
    Finished {
        index: usize,
        reason: FinishReason,
        prompt_tokens: usize,
        completion_tokens: usize,
    },
    /// The whole request is lost; no event follows.
    Failed { error: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The end-of-sequence token or a stop string.
    Stop,
    /// `max_tokens` or the window.
    Length,
    /// The sink returned `false`.
    Cancelled,
}

/// A whole generated sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    pub text: String,
    /// With the end-of-sequence token, if it came.
    pub tokens: Vec<u32>,
    /// One for every token, if asked for.
    pub logprobs: Vec<TokenLogprob>,
    pub reason: FinishReason,
    pub prompt_tokens: usize,
}

/// How likely is `answer` after `prompt`?
#[derive(Debug, Clone)]
pub struct ScoreRequest {
    pub prompt: Vec<u32>,
    pub answer: Vec<u32>,
    pub adapters: Vec<Arc<Lora>>,
}

#[derive(Debug, Clone)]
pub struct TrainRequest {
    pub config: TrainConfig,
    pub examples: Arc<[Example]>,
    /// Where training starts; its shape replaces `config.lora`.
    pub init: Option<Arc<Lora>>,
}

/// Hears of every optimizer step, on the engine's thread; `false` cancels the training.
pub type Progress = Box<dyn FnMut(&[StepReport]) -> bool + Send>;

#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    pub lora: Lora,
    /// Mean loss of each step.
    pub losses: Vec<f32>,
    /// From the first slice to the end, all candidates together.
    pub seconds: f64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineStats {
    /// Sequences generating.
    pub running: usize,
    /// Requests waiting for a place.
    pub waiting: usize,
    /// Tokens held in KV slots …
    pub kv_tokens: usize,
    /// … and how many of them are kept for prompts to come.
    pub prefix_tokens: usize,
    /// Candidates in training.
    pub training: usize,
    /// Scoring jobs not finished.
    pub scoring: usize,
    /// Since the start: prompt tokens computed,
    pub prompt_tokens: u64,
    /// prompt tokens (of scoring, too) that others had computed already,
    pub cached_tokens: u64,
    pub completion_tokens: u64,
    pub scored_tokens: u64,
    pub trained_tokens: u64,
}
