//! How a document is learned: what keeps earlier documents, and what is trained on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Nothing: one adapter is trained on and on (the paper's continual run).
    Sequential,
    /// One adapter; training sequences of earlier documents are mixed in (`training.replay`).
    Replay,
    /// One adapter, held near the model it was: a share of every target (`training.stay`) is what that says
    /// to the same input.
    Kl,
    /// One adapter that grows: each document has new ranks, trained orthogonal to the earlier ones, which stay
    /// as they are until there are 128; then the earlier ones are compressed to make room.
    Orthogonal,
    /// An adapter of its own for each document, chosen for each request by its question.
    #[default]
    Route,
}

impl Strategy {
    pub const ALL: [Strategy; 5] = [
        Strategy::Sequential,
        Strategy::Replay,
        Strategy::Kl,
        Strategy::Orthogonal,
        Strategy::Route,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Strategy::Sequential => "sequential",
            Strategy::Replay => "replay",
            Strategy::Kl => "kl",
            Strategy::Orthogonal => "orthogonal",
            Strategy::Route => "route",
        }
    }

    /// Whether training sequences of earlier documents may be mixed in.
    pub fn replays(self) -> bool {
        matches!(self, Strategy::Replay | Strategy::Route)
    }
}

/// What is trained on: the inner loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The study notes and the passage, as text.
    #[default]
    Text,
    /// The model's own answers without the document, towards what it says to them with the document in
    /// sight (context distillation). Its questions are those of the study notes; `replay` does not apply.
    Distill,
}

impl Method {
    pub const ALL: [Method; 2] = [Method::Text, Method::Distill];

    pub fn name(self) -> &'static str {
        match self {
            Method::Text => "text",
            Method::Distill => "distill",
        }
    }
}
