//! The options of an adaptation.

use super::self_edit::{OutOfRange, within};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The options, with their defaults. Settings are merged as for an ingest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptOptions {
    /// Time budget of the whole adaptation, in seconds. 1 to 3600.
    pub seconds: f32,
    /// The most configurations to compare. 1 to 16.
    pub candidates: usize,
    /// Rank of the LoRA, unless an adapter is continued. 1 to 256.
    pub rank: usize,
    pub alpha: f32,
    /// Sampling temperature of all configurations but the first, which is greedy.
    pub temperature: f32,
    pub seed: u64,
}

impl Default for AdaptOptions {
    fn default() -> Self {
        AdaptOptions {
            seconds: 60.0,
            candidates: 3,
            rank: 16,
            alpha: 32.0,
            temperature: 1.0,
            seed: 0,
        }
    }
}

impl AdaptOptions {
    pub fn check(&self) -> Result<(), OutOfRange> {
        within("seconds", self.seconds, 1.0, 3600.0)?;
        within("candidates", self.candidates, 1, 16)?;
        within("rank", self.rank, 1, 256)?;
        within("alpha", self.alpha, 0.01, 1024.0)?;
        within("temperature", self.temperature, 0.0, 2.0)
    }
}
