//! The model that learns: it generates, scores answers and trains adapters. `pool::LocalModel` implements the
//! trait over the engine of this process; tests script it.

use super::watch::Watch;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// A LoRA adapter, as learning sees it: a value to pass back to the model that made it.
#[derive(Clone)]
pub struct Adapter(pub Arc<autodidact_engine::Lora>);

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Adapter(rank {})", self.0.config.rank)
    }
}

/// One turn asked of the model, in its own chat format.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
pub struct Prompt {
    pub system: Option<String>,
    /// Earlier turns as examples: (user, assistant).
    pub examples: Vec<(String, String)>,
    pub user: String,
    /// The beginning of the answer, which the model continues. The beginning must end where a token ends, so it has no
    /// final space before a word.
    pub prefill: String,
    /// The JSON schema that constrains the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub schema: Option<serde_json::Value>,
}

impl Prompt {
    pub fn user(text: impl Into<String>) -> Self {
        Prompt {
            user: text.into(),
            ..Default::default()
        }
    }

    pub fn prefill(mut self, text: impl Into<String>) -> Self {
        self.prefill = text.into();
        self
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    pub temperature: f32,
    pub top_p: f32,
    pub max_tokens: usize,
    pub stop: Vec<String>,
    pub seed: u64,
    /// Completions for each prompt.
    pub n: usize,
    /// What `max_tokens` cuts off ends with its last whole line: half a line would be learned as a whole one.
    pub whole_lines: bool,
}

impl Sampling {
    /// The most likely answer, at most `max_tokens` long.
    pub fn greedy(max_tokens: usize) -> Self {
        Sampling {
            temperature: 0.0,
            top_p: 1.0,
            max_tokens,
            stop: Vec::new(),
            seed: 0,
            n: 1,
            whole_lines: false,
        }
    }

    /// The completion, of which `cut_off` says that `max_tokens` ended it.
    pub fn completed(&self, mut text: String, cut_off: bool) -> String {
        if self.whole_lines
            && cut_off
            && let Some(end) = text.rfind('\n')
        {
            text.truncate(end);
        }
        text
    }
}

/// One training sequence.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case", tag = "form")]
pub enum TrainingText {
    /// Plain text; every token is learned, and the end after it.
    Text { text: String },
    /// A chat turn; only the answer is learned.
    Chat { user: String, assistant: String },
    /// A whole prompt and its completion; only the completion is learned.
    Completion { prompt: Prompt, completion: String },
    /// Several turns of one conversation, as in a prompt with examples.
    Conversation {
        system: Option<String>,
        turns: Vec<Turn>,
        learn: Learn,
    },
}

/// One turn of a conversation.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
pub struct Turn {
    pub user: String,
    pub assistant: String,
}

/// The tokens of a conversation that are learned.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Learn {
    Everything,
    /// The assistant's answers, in every turn.
    Answers,
}

/// Settings of one inner-loop update.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Update {
    pub rank: usize,
    pub alpha: f32,
    pub learning_rate: f32,
    pub epochs: usize,
    pub batch_size: usize,
    /// See [`crate::learn::options::training::TrainingOptions::upper_layers`]. A training that continues an adapter has
    /// that adapter's layers.
    #[serde(default)]
    pub upper_layers: Option<usize>,
    /// The number of first ranks of a continued adapter that stay unchanged; the others stay orthogonal to them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub kept_ranks: usize,
    /// See [`crate::learn::options::training::TrainingOptions::early_stop`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<f32>,
    /// See [`crate::learn::options::training::TrainingOptions::lora_plus`].
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub lora_plus: f32,
    pub seed: u64,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

fn one() -> f32 {
    1.0
}

fn is_one(x: &f32) -> bool {
    *x == 1.0
}

/// One adapter to train.
#[derive(Debug, Clone)]
pub struct Training {
    pub texts: Vec<TrainingText>,
    pub update: Update,
    /// Continue this adapter instead of starting a fresh one.
    pub init: Option<Adapter>,
}

#[derive(Debug, Clone)]
pub struct Trained {
    pub adapter: Adapter,
    /// Mean loss of each optimizer step, nats a token.
    pub losses: Vec<f32>,
    /// Tokens trained on, all epochs together.
    pub tokens: usize,
}

/// Soft targets of a training: distributions over tokens in place of, or besides, the next token itself.
#[derive(Debug, Clone)]
pub enum SoftTargets {
    /// The distribution of the model as it was (`None`: the base) over the same inputs gets `share`, 0 to 1, of
    /// every target. The loss then bounds the divergence from that model.
    PreviousModel {
        adapter: Option<Adapter>,
        share: f32,
    },
    /// The teacher's distributions along the student's own answers, in place of the texts (on-policy
    /// distillation, arXiv 2306.13649).
    Teacher {
        adapter: Option<Adapter>,
        lessons: Vec<DistillExample>,
    },
}

/// An answer of the student, with the student's prompt and the teacher's, which shows more.
#[derive(Debug, Clone, PartialEq)]
pub struct DistillExample {
    pub student: Prompt,
    pub teacher: Prompt,
    pub answer: String,
}

impl Adapter {
    /// The adapter whose corrections are the sums of these adapters' corrections.
    pub fn sum(adapters: &[&Adapter]) -> Result<Adapter, ModelError> {
        let loras: Vec<&autodidact_engine::Lora> = adapters.iter().map(|a| &*a.0).collect();
        Ok(Adapter(Arc::new(autodidact_engine::Lora::sum(
            &loras, 1.0,
        )?)))
    }

    /// This adapter with `rank` fresh ranks, whose product is zero yet. The learned ranks are compressed where the
    /// whole would have more than `most` ranks, or where the fresh ranks would have less than half of the
    /// directions of a layer's input.
    pub fn with_room(&self, rank: usize, most: usize, seed: u64) -> Adapter {
        let kept = (most - rank).min(self.0.fewest_inputs() / 2);
        Adapter(Arc::new(
            self.0.compressed(kept.max(1)).with_added_rank(rank, seed),
        ))
    }
}

impl Trained {
    /// The same training, with only a part of its change of `from` (`None`: of the base).
    pub fn partly(&self, from: Option<&Adapter>, share: f32) -> Result<Trained, ModelError> {
        let from = from.map(|adapter| &*adapter.0);
        Ok(Trained {
            adapter: Adapter(Arc::new(self.adapter.0.interpolate(from, share)?)),
            losses: Vec::new(),
            tokens: 0,
        })
    }
}

/// Hears of every optimizer step: (steps done, steps in all, mean loss in nats a token). False stops the training.
pub type OnStep<'a> = dyn FnMut(usize, usize, f32) -> bool + Send + 'a;

/// When a training ends before its last step.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// May end the training without a result, as [`ModelError::Stopped`].
    pub watch: &'a dyn Watch,
    /// From then on the training has the steps that it has: its result is what they made.
    pub deadline: Option<Instant>,
}

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Stopped by its [`Watch`] or by [`OnStep`].
    #[error("stopped")]
    Stopped,
    #[error(transparent)]
    Engine(#[from] autodidact_engine::Error),
    /// A teacher or a judge gave no answer.
    #[error("the text model {model} gave no answer: {reason}")]
    Text { model: String, reason: String },
    /// The options name a teacher or a judge, and the configuration has none.
    #[error("there is no {0}: name a model under [{0}] in the configuration")]
    Missing(&'static str),
}

/// Every call waits for its result; it fails as [`ModelError::Stopped`] soon after `watch` wants it stopped.
pub trait Model: Send + Sync {
    /// `sampling.n` completions for each prompt: `[prompt][completion]`.
    fn generate(
        &self,
        prompts: &[Prompt],
        adapter: Option<&Adapter>,
        sampling: &Sampling,
        watch: &dyn Watch,
    ) -> Result<Vec<Vec<String>>, ModelError>;

    /// Mean log-likelihood, nats a token, of each answer after its prompt.
    fn likelihood(
        &self,
        items: &[(Prompt, String)],
        adapter: Option<&Adapter>,
        watch: &dyn Watch,
    ) -> Result<Vec<f32>, ModelError>;

    /// The number of tokens of `text`.
    fn tokens(&self, text: &str) -> usize;

    /// Most tokens of a prompt with its answer.
    fn window(&self) -> usize;

    /// Trains the adapters together, in one packed batch; each comes out as if trained alone. `limits` may end the
    /// training inside a step, which is then thrown away.
    fn train_within(
        &self,
        trainings: Vec<Training>,
        on_step: &mut OnStep<'_>,
        limits: &Limits<'_>,
    ) -> Result<Vec<Trained>, ModelError>;

    /// [`Model::train_within`] without limits: the training ends with its last step, or when `on_step` returns false.
    fn train(
        &self,
        trainings: Vec<Training>,
        on_step: &mut OnStep<'_>,
    ) -> Result<Vec<Trained>, ModelError> {
        let limits = Limits {
            watch: &|| false,
            deadline: None,
        };
        self.train_within(trainings, on_step, &limits)
    }

    /// Trains one adapter on soft targets. The default fails: such a model does not tell its distributions.
    fn train_on_soft_targets(
        &self,
        _training: Training,
        _toward: &SoftTargets,
        _on_step: &mut OnStep<'_>,
        _watch: &dyn Watch,
    ) -> Result<Trained, ModelError> {
        let reason =
            "this model does not tell its distributions, so nothing can be trained towards them";
        Err(autodidact_engine::Error::Input(reason.into()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_limit_cut_loses_its_last_line() {
        let whole = Sampling {
            whole_lines: true,
            ..Sampling::greedy(8)
        };
        let text = || "One is.\nTwo is.\nThree".to_owned();
        assert_eq!(whole.completed(text(), true), "One is.\nTwo is.");
        assert_eq!(whole.completed(text(), false), text());
        assert_eq!(Sampling::greedy(8).completed(text(), true), text());
        assert_eq!(whole.completed("Three".into(), true), "Three");
    }
}
