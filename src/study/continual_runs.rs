//! The runs of the continual table: the strategies and methods to measure, and the finished runs in the table's
//! directory, one file each.

use super::continual::Run;
use crate::learn::knowledge::datasets;
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::strategy::{Method, Strategy};
use crate::learn::options::update::IngestOptions;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A document with its held-out questions.
pub type Document = (Passage, Vec<Question>);

/// The sensible pairs of these strategies and methods. Distillation replays nothing and stays near the old model by
/// itself, so it is measured under `sequential` and `route` only.
pub fn arms(strategies: &[Strategy], methods: &[Method]) -> Vec<(Strategy, Method)> {
    let pairs = methods
        .iter()
        .flat_map(|m| strategies.iter().map(move |s| (*s, *m)));
    let differs = |(strategy, method): &(Strategy, Method)| {
        *method == Method::Text || matches!(strategy, Strategy::Sequential | Strategy::Route)
    };
    pairs.filter(differs).collect()
}

/// The settings that decide a run. `general`: general probes asked after every update.
pub fn run_settings(
    model: &str,
    documents: &[Document],
    options: &IngestOptions,
    general: usize,
) -> Value {
    let digest = datasets::digest(documents.iter().map(|(p, q)| (p, q.as_slice())));
    json!({"model": model, "options": options, "general": general, "documents": digest})
}

/// A finished run on disk, with its settings.
#[derive(Debug, Serialize, Deserialize)]
struct SavedRun {
    settings: Value,
    run: Run,
}

fn path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("run-{name}.json"))
}

/// The stored run of this name; `None` if there is none or it was made with other settings.
pub fn saved_run(directory: &Path, name: &str, settings: &Value) -> Option<Run> {
    let text = std::fs::read_to_string(path(directory, name)).ok()?;
    let saved: SavedRun = serde_json::from_str(&text).ok()?;
    (saved.settings == *settings).then_some(saved.run)
}

/// Saves the run and returns it.
pub fn save_run(directory: &Path, name: &str, settings: Value, run: Run) -> Result<Run, String> {
    let path = path(directory, name);
    let saved = SavedRun { settings, run };
    let text = serde_json::to_string(&saved).map_err(|e| e.to_string())?;
    let written = std::fs::write(&path, text);
    written.map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    Ok(saved.run)
}
