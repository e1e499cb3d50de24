//! The gate: what an update must gain, and what it may lose.

use crate::learn::grading::grader::Grader;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateMode {
    /// Publish only what is proven by probes.
    Probes,
    /// Publish whatever was trained.
    Off,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GateOptions {
    pub mode: GateMode,
    /// The new document's probes must be answered better by at least this share (0 to 1).
    pub min_gain: f32,
    /// Share of the probes of earlier documents that one update may lose (0 to 1).
    pub retention_budget: f32,
    /// Share of the general probes that may be lost against the base, by all updates together (0 to 1). The
    /// default loses any number: they are asked and shown, but decide nothing until a budget is given.
    pub general_budget: f32,
    /// General probes asked around an update, of the hundred there are; 0 asks none. 0 to 100.
    pub general_probes: usize,
    /// Trainings tried before the update is refused. 1 to 5.
    pub attempts: usize,
    /// Probes the model writes where the document brings no questions.
    pub probes: usize,
    pub grader: Grader,
}

impl Default for GateOptions {
    fn default() -> Self {
        GateOptions {
            mode: GateMode::Probes,
            min_gain: 0.1,
            retention_budget: 0.2,
            general_budget: 1.0,
            general_probes: 20,
            attempts: 3,
            probes: 6,
            grader: Grader::default(),
        }
    }
}
