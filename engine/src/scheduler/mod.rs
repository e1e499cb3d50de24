//! The scheduler: one thread owns the executor and shares it between generation, scoring and training.
//!
//! A turn is one packed forward pass, which moves every running sequence on by a token and computes prompts,
//! then at most one slice of scoring and one of training. A slice of training is one layer of one pass, so no
//! stream and no new request waits longer than that. While an interactive sequence generates, slices get only
//! a share of the time, so most of its tokens do not wait at all.
//!
//! Interactive requests are admitted first, then ingest, then the outer loop. Background work never takes the
//! place of an interactive request. Common beginnings of prompts are computed once (`prefix`).
//!
//! [`Engine`] is the handle; each of its calls becomes a command to the thread (`worker`).

mod engine;
mod generation;
mod prefix;
mod scoring;
mod text;
mod training;
mod worker;

pub use engine::Engine;
pub use text::TextStream;
pub use training::Enough;

use crate::lora::Lora;
use crate::sampler::{SamplingParams, TokenLogprob};
use crate::trainer::{Example, StepReport, TrainConfig};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The order in which work is done, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Someone is waiting for the answer.
    Interactive,
    /// A posted document is being learned.
    Ingest,
    /// The outer loop practises in the background.
    Outer,
}

/// The limits of an engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineOptions {
    /// Most tokens of one packed forward pass.
    pub max_batch_tokens: usize,
    /// Most interactive sequences generating at once, within `kv_budget_tokens`.
    pub max_sequences: usize,
    /// Most sequences generating in all, at which a background sequence may still start: more would make a step long
    /// for the next interactive request.
    pub background_sequences: usize,
    /// Most interactive requests that wait for a place; more are refused with [`crate::Error::Full`].
    pub max_waiting: usize,
    /// Most tokens of a training pass, or of scoring between two decoding steps, while an interactive sequence
    /// generates, and of a training pass that begins within ten seconds after.
    pub train_slice_tokens: usize,
    /// The share of the time that training and scoring may take while an interactive sequence generates.
    pub train_share: f32,
    /// The context window, in tokens; the model's own if `None` or if that is smaller.
    pub window: Option<usize>,
    /// Most tokens whose keys and values are kept after their sequence ended, for later prompts with the same
    /// beginning. 0 turns all prefix sharing off.
    pub cache_tokens: usize,
    /// Tokens for whose keys and values there is memory: those of running sequences, all that these may still
    /// generate, and those that are kept. A request waits until it fits.
    pub kv_budget_tokens: usize,
}

impl EngineOptions {
    /// Most sequences of the priority that generate at once.
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

/// Takes the events of one request, on the engine's thread, and must not block. Returning `false` cancels the
/// request.
pub type Sink = Box<dyn FnMut(GenerateEvent) -> bool + Send>;

/// What [`Engine::generate`] is asked.
pub struct GenerateRequest {
    /// Tokens, at least one.
    pub prompt: Vec<u32>,
    /// The stack of adapters; none for the bare base.
    pub adapters: Vec<Arc<Lora>>,
    pub sampling: SamplingParams,
    /// The number of samples. Their prompt is computed once, and sample i draws with seed + i.
    pub n: usize,
    pub priority: Priority,
    pub sink: Sink,
}

/// What [`Engine::complete`] is asked: a [`GenerateRequest`] without a sink.
#[derive(Debug, Clone)]
pub struct CompleteRequest {
    pub prompt: Vec<u32>,
    pub adapters: Vec<Arc<Lora>>,
    pub sampling: SamplingParams,
    /// The number of samples.
    pub n: usize,
    pub priority: Priority,
}

/// An event of a running request.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerateEvent {
    /// One for every generated token, the end-of-sequence token included.
    Token {
        /// Index of the sample.
        index: usize,
        /// The text that this token completes; empty while a character or a possible stop string is incomplete.
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
    /// The whole request failed; no event follows.
    Failed { error: String },
}

/// Why a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The end-of-sequence token or a stop string.
    Stop,
    /// `max_tokens` or the context window.
    Length,
    /// The sink returned `false`.
    Cancelled,
}

/// A whole generated sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    pub text: String,
    /// All generated tokens, the end-of-sequence token included.
    pub tokens: Vec<u32>,
    /// One for every token, if [`SamplingParams::logprobs`] is set.
    pub logprobs: Vec<TokenLogprob>,
    pub reason: FinishReason,
    pub prompt_tokens: usize,
}

/// Asks how likely `answer` is after `prompt`.
///
/// ```
/// # use autodidact_engine::*;
/// # let dir = tempfile::tempdir()?;
/// # tiny::write_tiny(dir.path(), Family::Llama, 0)?;
/// # let files = ModelFiles::open(dir.path())?;
/// # let executor = Cpu::new(&files, CpuOptions::default())?;
/// # let engine = Engine::start(files.into(), Box::new(executor), EngineOptions::default());
/// let tokenizer = &engine.files().tokenizer;
/// let request = ScoreRequest {
///     prompt: tokenizer.encode("The sky is")?,
///     answer: tokenizer.encode(" blue")?,
///     adapters: vec![],
/// };
/// let scores = engine.score(vec![request], Priority::Interactive)?;
/// let logprob: f32 = scores[0].iter().map(|token| token.logprob).sum();
/// assert!(logprob < 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ScoreRequest {
    pub prompt: Vec<u32>,
    pub answer: Vec<u32>,
    pub adapters: Vec<Arc<Lora>>,
}

/// One adapter to train.
///
/// ```
/// # use autodidact_engine::*;
/// # let dir = tempfile::tempdir()?;
/// # tiny::write_tiny(dir.path(), Family::Llama, 0)?;
/// # let files = ModelFiles::open(dir.path())?;
/// # let executor = Cpu::new(&files, CpuOptions::default())?;
/// # let engine = Engine::start(files.into(), Box::new(executor), EngineOptions::default());
/// let tokenizer = &engine.files().tokenizer;
/// let (prompt, answer) = (tokenizer.encode("The sky is")?, tokenizer.encode(" blue")?);
/// let request = TrainRequest {
///     config: TrainConfig { lora: LoraConfig::all_linear(4, 8.0), epochs: 3, ..Default::default() },
///     examples: [Example::completion(&prompt, &answer)].into(),
///     init: None,
/// };
/// let progress = |reports: &[StepReport]| reports[0].loss.is_finite(); // `false` cancels
/// let trained = engine.train(vec![request], Priority::Ingest, Box::new(progress))?;
/// assert!(trained[0].losses[2] < trained[0].losses[0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct TrainRequest {
    pub config: TrainConfig,
    pub examples: Arc<[Example]>,
    /// The adapter that training starts from; its shape replaces `config.lora`. `None`: a fresh one.
    pub init: Option<Arc<Lora>>,
}

/// Takes the reports of every optimizer step, on the engine's thread. Returning `false` cancels the training.
pub type Progress = Box<dyn FnMut(&[StepReport]) -> bool + Send>;

/// A trained adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    pub lora: Lora,
    /// Mean loss of each step: negative log-likelihood a supervised token, before the step's update.
    pub losses: Vec<f32>,
    /// Tokens of the examples in all steps; a shared prefix counts for each example.
    pub tokens: usize,
    /// Time from the first slice to the end, of all candidates together.
    pub seconds: f64,
}

/// The engine's load, and its totals since the start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EngineStats {
    /// Sequences generating.
    pub running: usize,
    /// Requests waiting for a place.
    pub waiting: usize,
    /// Tokens held in KV slots.
    pub kv_tokens: usize,
    /// Those of `kv_tokens` that are kept for later prompts.
    pub prefix_tokens: usize,
    /// Candidates in training.
    pub training: usize,
    /// Scoring jobs not finished.
    pub scoring: usize,
    /// Total: prompt tokens computed.
    pub prompt_tokens: u64,
    /// Total: prompt tokens taken from a shared prefix instead, those of scoring included.
    pub cached_tokens: u64,
    /// Total: tokens generated.
    pub completion_tokens: u64,
    /// Total: tokens computed for scoring.
    pub scored_tokens: u64,
    /// Total: tokens computed for training.
    pub trained_tokens: u64,
}
