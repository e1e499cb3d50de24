//! The options of the gate: the gain that an update must reach, and the loss that it may cause.

use crate::learn::grading::grader::Grader;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateMode {
    /// Publish an update only if probes prove it.
    Probes,
    /// Publish every update.
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
    /// Share of the general probes that all updates together may lose against the base (0 to 1). With the default,
    /// general probes are asked and shown, but never refuse an update.
    pub general_budget: f32,
    /// Number of general probes asked around an update. 0 to 100.
    pub general_probes: usize,
    /// Trainings tried before the update is refused. 1 to 5.
    pub attempts: usize,
    /// Number of probes that the model writes if the document brings no questions.
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
