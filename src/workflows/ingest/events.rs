//! What the ingest job tells of one document, and the journal of the document's update.

use crate::jobs::JobContext;
use crate::learn::inner::report::Report;
use crate::learn::ports::journal::Journal;
use crate::learn::ports::model::ModelError;
use crate::store::{Document, DocumentState, Record, Scores};
use crate::workflows::journal::JobJournal;
use serde_json::json;

/// The journal of one document's update. `place`: the nth (from 0) of how many documents; `live`: the
/// version that the update starts from, to which its steps belong.
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

pub(crate) fn tell_state(journal: &JobJournal, document: &Document, state: DocumentState) {
    let data = json!({"title": document.title, "state": state});
    journal.event("document", data);
}

/// Tells the gate's decision, and the document's state after it.
pub(crate) fn tell_decision(journal: &JobJournal, document: &Document, report: &Report) {
    if let Some(d) = &report.decision {
        let data = json!({"accepted": d.accepted, "reason": d.reason, "version": d.version});
        journal.event("decision", data);
        let state = match d.accepted {
            true => DocumentState::Learned,
            false => DocumentState::Refused,
        };
        tell_state(journal, document, state);
    }
}

/// Saves the report with its document, so that it can be read while the update runs.
pub(crate) fn save_report(cx: &JobContext, document: &Document, report: &Report) {
    let documents = cx.store().documents();
    let set = |stored| documents.set_report(&document.id, &stored, scores_of(report));
    if let Err(error) = report.encode().and_then(set) {
        tracing::warn!(%error, "a report is lost");
    }
}

/// For lists.
pub(crate) fn scores_of(report: &Report) -> Scores {
    Scores {
        before: report.score_before,
        after: report.score_after,
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
