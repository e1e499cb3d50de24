//! The events of the ingest job about one document, and the journal of the document's update.

use crate::jobs::JobContext;
use crate::learn::inner::report::Report;
use crate::learn::ports::journal::Journal;
use crate::learn::ports::model::ModelError;
use crate::store::{Document, DocumentState, Record, Scores};
use crate::workflows::journal::JobJournal;
use serde_json::json;

/// The journal of one document's update. `place`: index (from 0) and number of documents. `live`: the version that the
/// update starts from; the steps belong to it.
pub(crate) fn journal<'a>(
    cx: &'a JobContext,
    document: &Document,
    place: (usize, usize),
    live: Option<u64>,
) -> JobJournal<'a> {
    let start = live.unwrap_or(0);
    JobJournal::new(cx)
        .with_key_prefix(format!("{}:from {start}:", document.id))
        .with_place(place)
        .with_event_data("document_id", document.id.as_str())
}

pub(crate) fn emit_state(journal: &JobJournal, document: &Document, state: DocumentState) {
    let data = json!({"title": document.title, "state": state});
    journal.event("document", data);
}

/// Emits the gate's decision, then the document's new state.
pub(crate) fn emit_decision(journal: &JobJournal, document: &Document, report: &Report) {
    if let Some(d) = &report.decision {
        let data = json!({"accepted": d.accepted, "reason": d.reason, "version": d.version});
        journal.event("decision", data);
        let state = match d.accepted {
            true => DocumentState::Learned,
            false => DocumentState::Refused,
        };
        emit_state(journal, document, state);
    }
}

/// Stores the report with its document, so that clients can read it while the update runs.
pub(crate) fn save_report(cx: &JobContext, document: &Document, report: &Report) {
    let documents = cx.store().documents();
    let set = |stored| documents.set_report(&document.id, &stored, scores_of(report));
    if let Err(error) = report.encode().and_then(set) {
        tracing::warn!(document = %document.id, %error, "a report is lost");
    }
}

/// The report's scores, for lists.
pub(crate) fn scores_of(report: &Report) -> Scores {
    Scores {
        before: report.score_before,
        after: report.score_after,
    }
}

/// Whether the error ends the job, because no further document can be learned.
pub(crate) fn is_over(error: &ModelError) -> bool {
    use autodidact_engine::Error as E;
    matches!(
        error,
        ModelError::Stopped | ModelError::Engine(E::Stopped | E::Cancelled)
    )
}
