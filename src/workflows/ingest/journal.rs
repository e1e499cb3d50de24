//! What the ingest job tells and remembers of one document: learning's journal over the job's context.

use crate::jobs::JobContext;
use crate::learn::inner::report::Report;
use crate::learn::ports::journal::{self, Journal};
use crate::learn::ports::model::ModelError;
use crate::store::{Document, DocumentState};
use crate::workflows::reason::Reason;
use serde_json::{Value, json};

/// One document's part of the job: learning's journal.
pub(crate) struct Tale<'a> {
    pub(crate) cx: &'a JobContext,
    pub(crate) document: &'a Document,
    /// Which of how many documents.
    pub(crate) place: (usize, usize),
    /// The version it starts from: a step belongs to that start.
    pub(crate) live: Option<u64>,
    pub(crate) reason: Reason,
}

impl<'a> Tale<'a> {
    pub(crate) fn new(
        cx: &'a JobContext,
        document: &'a Document,
        place: (usize, usize),
        live: Option<u64>,
    ) -> Self {
        Tale {
            cx,
            document,
            place,
            live,
            reason: Reason::default(),
        }
    }

    pub(crate) fn key(&self, step: &str) -> String {
        format!(
            "{}:from {}:{step}",
            self.document.id,
            self.live.unwrap_or(0)
        )
    }

    pub(crate) fn tell_state(&self, state: DocumentState) {
        let data = json!({"title": self.document.title, "state": state});
        self.event("document", data);
    }

    pub(crate) fn tell_decision(&self, report: &Report) {
        if let Some(d) = &report.decision {
            let data = json!({"accepted": d.accepted, "reason": d.reason, "version": d.version});
            self.event("decision", data);
            self.tell_state(match d.accepted {
                true => DocumentState::Learned,
                false => DocumentState::Refused,
            });
        }
    }
}

impl Journal for Tale<'_> {
    fn recall(&self, key: &str) -> Result<Option<Value>, journal::Interrupted> {
        self.cx
            .recall(&self.key(key))
            .map_err(|e| self.reason.stop(e.into()))
    }

    fn remember(&self, key: &str, value: &Value) -> Result<(), journal::Interrupted> {
        self.cx
            .remember(&self.key(key), value)
            .map_err(|e| self.reason.stop(e.into()))
    }

    fn progress(&self, stage: &str, fraction: f32, message: &str) {
        let (nth, count) = self.place;
        let whole = (nth as f32 + fraction) / count as f32;
        let message = format!("{} of {count}: {message}", nth + 1);
        if let Err(error) = self.cx.progress(stage, whole, &message) {
            tracing::warn!(%error, "progress is lost");
        }
    }

    fn event(&self, kind: &str, mut data: Value) {
        data["document_id"] = json!(self.document.id);
        if let Err(error) = self.cx.event(kind, data) {
            tracing::warn!(%error, "an event is lost");
        }
    }

    fn report(&self, report: &Report) {
        let report = serde_json::to_value(report).unwrap_or_default();
        let documents = self.cx.store().documents();
        if let Err(error) = documents.set_report(&self.document.id, &report) {
            tracing::warn!(%error, "a report is lost");
        }
    }

    fn check(&self) -> Result<(), journal::Interrupted> {
        self.cx
            .check()
            .map_err(|stop| self.reason.stop(stop.into()))
    }
}

/// Nothing more can be learned by this job, whichever document comes next.
pub(crate) fn is_over(error: &ModelError) -> bool {
    use autodidact_engine::Error as E;
    matches!(
        error,
        ModelError::Stopped | ModelError::Engine(E::Stopped | E::Cancelled)
    )
}
