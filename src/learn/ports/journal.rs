//! The journal: what learning asks of the job around a run.

use super::model::ModelError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why work ends before its result.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// Cancelled, paused or shutting down: the job knows which.
    #[error("stopped")]
    Stopped,
    #[error(transparent)]
    Model(ModelError),
    /// The journal itself failed.
    #[error("journal: {0}")]
    Journal(String),
}

impl From<ModelError> for Interrupted {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Stopped => Interrupted::Stopped,
            other => Interrupted::Model(other),
        }
    }
}

/// Remembers finished steps over a crash, tells progress and events, and says when to stop.
pub trait Journal: Sync {
    /// The value of a finished step, maybe from before a crash.
    fn recall(&self, key: &str) -> Result<Option<Value>, Interrupted>;
    /// Keeps the value of a finished step. Durable on return.
    fn remember(&self, key: &str, value: &Value) -> Result<(), Interrupted>;
    /// Keeps a step together with the event that tells of it. A job's journal keeps both or neither over a crash.
    fn remember_with_event(
        &self,
        key: &str,
        value: &Value,
        kind: &str,
        data: Value,
    ) -> Result<(), Interrupted> {
        self.remember(key, value)?;
        self.event(kind, data);
        Ok(())
    }
    /// `fraction`: share of the whole run that is done, 0 to 1.
    fn progress(&self, stage: &str, fraction: f32, message: &str);
    /// Something happened that a watcher wants to see.
    fn event(&self, kind: &str, data: Value);
    /// Fails as [`Interrupted::Stopped`] when the run is to stop. Called at least every second of work.
    fn check(&self) -> Result<(), Interrupted>;
}

/// Runs `work` once, and tells of it once: the event `kind` with the data of `tell`. A step that finished
/// before is recalled.
pub fn step_with_event<T: Serialize + DeserializeOwned>(
    journal: &dyn Journal,
    key: &str,
    kind: &str,
    tell: impl FnOnce(&T) -> Value,
    work: impl FnOnce() -> Result<T, Interrupted>,
) -> Result<T, Interrupted> {
    journal.check()?;
    if let Some(result) = recalled(journal, key)? {
        return Ok(result);
    }
    let result = work()?;
    let data = tell(&result);
    journal.remember_with_event(key, &written(key, &result)?, kind, data)?;
    Ok(result)
}

/// The value of a finished step, read into its type. Fails if the value has another shape.
pub fn recalled<T: DeserializeOwned>(
    journal: &dyn Journal,
    key: &str,
) -> Result<Option<T>, Interrupted> {
    let unreadable = |e| Interrupted::Journal(format!("step {key:?} cannot be read back: {e}"));
    let value = journal.recall(key)?;
    value
        .map(serde_json::from_value)
        .transpose()
        .map_err(unreadable)
}

fn written(key: &str, result: &impl Serialize) -> Result<Value, Interrupted> {
    let unwritable = |e| Interrupted::Journal(format!("step {key:?} cannot be written: {e}"));
    serde_json::to_value(result).map_err(unwritable)
}

/// Runs `work` once: a step that finished before is recalled.
pub fn step<T: Serialize + DeserializeOwned>(
    journal: &dyn Journal,
    key: &str,
    work: impl FnOnce() -> Result<T, Interrupted>,
) -> Result<T, Interrupted> {
    journal.check()?;
    if let Some(result) = recalled(journal, key)? {
        return Ok(result);
    }
    let result = work()?;
    journal.remember(key, &written(key, &result)?)?;
    Ok(result)
}
