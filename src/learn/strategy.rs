//! What keeps earlier documents while a new one is learned.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Nothing: one adapter is trained on and on (the paper's continual run).
    Sequential,
    /// One adapter; training sequences of earlier documents are mixed in (`training.replay`).
    #[default]
    Replay,
    /// An adapter of its own for each document, chosen for each request by its question.
    Route,
}

impl Strategy {
    pub const ALL: [Strategy; 3] = [Strategy::Sequential, Strategy::Replay, Strategy::Route];

    pub fn name(self) -> &'static str {
        match self {
            Strategy::Sequential => "sequential",
            Strategy::Replay => "replay",
            Strategy::Route => "route",
        }
    }

    pub fn from_name(name: &str) -> Option<Strategy> {
        Strategy::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Whether training sequences of earlier documents may be mixed in.
    pub fn replays(self) -> bool {
        self != Strategy::Sequential
    }
}
