//! The model on a device: one packed forward pass for prefill, decoding, scoring and training, with a stack of
//! LoRA adapters for each sequence.
//!
//! The crate knows tokens and tensors. It knows nothing of learning, jobs or HTTP. Read first, each with an example:
//! [`ModelFiles`] (load a model), [`Engine`] (generate), [`TrainRequest`] (train an adapter), [`ScoreRequest`]
//! (score an answer) and [`lora::peft`] (save an adapter).
//!
//! ```text
//!            scheduler            continuous batching, training in slices between decode steps
//!           /    |    \
//!     sampler trainer  kv slots
//!           \    |    /
//!            executor             the trait: forward, score, backward over a packed batch
//!           /        \
//!     reference      cpu          plain candle (the truth, any device) | fused kernels (fast)
//!           \        /
//!     weights, tokenizer, chat    GGUF or a Hugging Face directory
//! ```

pub mod batch;
pub mod chat;
pub mod config;
pub mod constraint;
pub mod cpu;
pub mod error;
pub mod executor;
mod logits;
pub mod lora;
pub mod reference;
pub mod sampler;
pub mod scheduler;
pub mod tiny;
pub mod tokenizer;
pub mod trainer;
pub mod weights;

pub use batch::{PackedBatch, Sequence};
pub use chat::{ChatTemplate, Message};
pub use config::{Family, ModelConfig, Projection, RopeScaling};
pub use constraint::{Constraint, Grammar, Grammars};
pub use cpu::{Cpu, CpuOptions, Precision};
pub use error::{Error, Result};
pub use executor::{
    BackwardPass, Executor, HiddenStates, KvSlot, Likely, Score, Shortlist, Target, Vocabulary,
};
pub use lora::{Lora, LoraConfig, LoraGrads, LoraPair};
pub use reference::Reference;
pub use sampler::{SamplingParams, TokenLogprob};
pub use scheduler::{
    CompleteRequest, Completion, Engine, EngineOptions, EngineStats, FinishReason, GenerateEvent,
    GenerateRequest, Priority, ScoreRequest, TrainRequest, Trained,
};
pub use tokenizer::{StreamDecoder, Tokenizer};
pub use trainer::{Example, Schedule, StepReport, TrainConfig};
pub use weights::{ModelFiles, Tensor};
