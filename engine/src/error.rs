//! The crate's error type: what was wrong, where, and what would be right.

use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What an operation of the crate can fail with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path}: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The model's files are damaged, incomplete or of a kind this engine does not run.
    #[error("model {path}: {reason}")]
    Model { path: PathBuf, reason: String },
    /// A LoRA adapter does not fit the model, or its files are damaged.
    #[error("adapter: {0}")]
    Adapter(String),
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    #[error("chat template: {0}")]
    Template(String),
    /// A sequence is longer than the context window; both figures are in tokens.
    #[error("{asked} tokens do not fit the context window of {window} tokens")]
    TooLong { asked: usize, window: usize },
    /// The caller's input is wrong: an empty prompt, a token outside the vocabulary …
    #[error("{0}")]
    Input(String),
    /// `max_waiting` requests are waiting already.
    #[error("{waiting} requests are waiting already; try again in {retry_after_seconds} s")]
    Full {
        waiting: usize,
        retry_after_seconds: u64,
    },
    /// The executor failed or panicked in a batch. The batch's requests are lost; the engine goes on.
    #[error("the model failed: {0}")]
    Executor(String),
    /// A loss, gradient or weight in training is no longer a finite number.
    #[error(
        "training diverged at step {step} of candidate {candidate} (learning rate {learning_rate}): \
         lower the learning rate"
    )]
    Diverged {
        /// Index of the candidate among those trained together.
        candidate: usize,
        /// From 0.
        step: usize,
        learning_rate: f32,
    },
    /// The caller asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The engine's thread has ended (shut down, or panicked).
    #[error("the engine has stopped")]
    Stopped,
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io {
            path: path.into(),
            source,
        }
    }

    pub fn model(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Error::Model {
            path: path.into(),
            reason: reason.into(),
        }
    }
}
