//! Two choices of the inner loop: the strategy protects earlier documents, the method decides the training targets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// No protection: one adapter is trained further with every document (the paper's continual run).
    Sequential,
    /// One adapter; training sequences of earlier documents are mixed in (`training.replay`).
    Replay,
    /// One adapter, held near the previous model: a share of every target (`training.stay`) is the previous model's
    /// prediction for the same input.
    Kl,
    /// One adapter that grows: each document gets new ranks, trained orthogonally to the earlier ranks. The earlier
    /// ranks stay unchanged until there are 128; then they are compressed to make room.
    Orthogonal,
    /// Each document has an adapter of its own; a router chooses the adapter for each request by its question.
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

/// The training targets of the inner loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The study notes and the passage, as text.
    #[default]
    Text,
    /// Context distillation: the model without the document learns the predictions that it makes with the document in
    /// the prompt. The questions come from the study notes; `replay` does not apply.
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
