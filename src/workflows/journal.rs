//! The journal port of learning for a job: steps, progress and events go to the job's context. Learning only sees that
//! it must stop; the journal keeps the reason for the job's own answer.

use crate::adapters;
use crate::jobs::{JobContext, JobFailure};
use crate::learn::ports::journal::{Interrupted, Journal};
use serde_json::{Map, Value};
use std::sync::{Mutex, PoisonError};

impl From<adapters::Error> for JobFailure {
    fn from(error: adapters::Error) -> Self {
        JobFailure::new("adapter", error.to_string())
    }
}

pub(crate) struct JobJournal<'a> {
    pub(crate) cx: &'a JobContext,
    /// Prefix of every step's key.
    key_prefix: String,
    /// The current part of the job: its index (from 0) and the number of parts.
    place: Option<(usize, usize)>,
    /// Fields added to every event.
    event_data: Map<String, Value>,
    failure: Mutex<Option<JobFailure>>,
}

impl<'a> JobJournal<'a> {
    pub(crate) fn new(cx: &'a JobContext) -> Self {
        JobJournal {
            cx,
            key_prefix: String::new(),
            place: None,
            event_data: Map::new(),
            failure: Mutex::default(),
        }
    }

    /// Sets the prefix of step keys. With it, a job that starts over from another version does not reuse steps of its
    /// first start.
    pub(crate) fn with_key_prefix(self, key_prefix: String) -> Self {
        JobJournal { key_prefix, ..self }
    }

    /// Scales progress to the `nth` part (from 0) of `count` equal parts.
    pub(crate) fn with_place(self, (nth, count): (usize, usize)) -> Self {
        JobJournal {
            place: Some((nth, count)),
            ..self
        }
    }

    /// Adds a field to every event.
    pub(crate) fn with_event_data(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.event_data.insert(field.to_owned(), value.into());
        self
    }

    /// Keeps the reason, and returns the signal for learning.
    pub(crate) fn interrupt(&self, failure: impl Into<JobFailure>) -> Interrupted {
        *self.failure_slot() = Some(failure.into());
        Interrupted::Stopped
    }

    /// The job's failure after learning was interrupted: the kept reason, or else learning's own.
    pub(crate) fn failure(&self, interrupted: Interrupted) -> JobFailure {
        match (self.failure_slot().take(), interrupted) {
            (Some(failure), _) => failure,
            (None, Interrupted::Model(error)) => JobFailure::new("model", error.to_string()),
            (None, other) => JobFailure::new("learning", other.to_string()),
        }
    }

    fn failure_slot(&self) -> std::sync::MutexGuard<'_, Option<JobFailure>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, step: &str) -> String {
        format!("{}{step}", self.key_prefix)
    }

    fn data(&self, mut data: Value) -> Value {
        for (field, value) in &self.event_data {
            data[field] = value.clone();
        }
        data
    }
}

impl Journal for JobJournal<'_> {
    fn recall(&self, key: &str) -> Result<Option<Value>, Interrupted> {
        let value = self.cx.recall(&self.key(key));
        value.map_err(|e| self.interrupt(e))
    }

    fn remember(&self, key: &str, value: &Value) -> Result<(), Interrupted> {
        let kept = self.cx.remember(&self.key(key), value);
        kept.map_err(|e| self.interrupt(e))
    }

    fn remember_with_event(
        &self,
        key: &str,
        value: &Value,
        kind: &str,
        data: Value,
    ) -> Result<(), Interrupted> {
        let data = self.data(data);
        let told = self
            .cx
            .remember_with_event(&self.key(key), value, kind, &data);
        told.map_err(|e| self.interrupt(e))
    }

    fn progress(&self, stage: &str, fraction: f32, message: &str) {
        let written = match self.place {
            None => self.cx.progress(stage, fraction, message),
            Some((nth, count)) => {
                let whole = (nth as f32 + fraction) / count as f32;
                let message = format!("{} of {count}: {message}", nth + 1);
                self.cx.progress(stage, whole, &message)
            }
        };
        if let Err(error) = written {
            tracing::warn!(%error, "progress is lost");
        }
    }

    fn event(&self, kind: &str, data: Value) {
        if let Err(error) = self.cx.event(kind, self.data(data)) {
            tracing::warn!(%error, "an event is lost");
        }
    }

    fn check(&self) -> Result<(), Interrupted> {
        self.cx.check().map_err(|stop| self.interrupt(stop))
    }
}
