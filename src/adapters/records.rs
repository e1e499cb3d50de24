//! Reading stored reports back as their type.

use super::{Error, Result};
use crate::learn::inner::report::Report;
use crate::learn::ports::model::TrainingText;
use crate::store::{self, Document, Record};

impl Record for Report {
    const KIND: &'static str = "report";
    const FORMAT: u64 = 1;
}

/// The document's report; `None` before learning has begun.
pub fn report(document: &Document) -> Result<Option<Report>, store::Error> {
    let stored = document.report.as_ref();
    stored
        .map(|value| Report::decode(&document.id, value))
        .transpose()
}

/// The report of a document that has been learned or refused: there is one.
pub fn finished_report(document: &Document) -> Result<Report, store::Error> {
    report(document)?.ok_or_else(|| store::Error::Unreadable {
        kind: Report::KIND,
        owner: document.id.clone(),
        reason: "there is none, though learning has ended".into(),
    })
}

/// The training sequences of a learned document.
pub fn training_texts(document: &Document) -> Result<Vec<TrainingText>> {
    let report = finished_report(document).map_err(Error::from)?;
    Ok(report.training_sequences)
}
