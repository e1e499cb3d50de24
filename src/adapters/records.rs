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
    let stored = document.report.clone();
    stored
        .map(|value| Report::decode(&document.id, value))
        .transpose()
}

/// The training sequences of a learned document.
pub fn training_texts(document: &Document) -> Result<Vec<TrainingText>> {
    let report = report(document)?.ok_or_else(|| store::Error::Unreadable {
        kind: Report::KIND,
        owner: document.id.clone(),
        reason: "a learned document has none".into(),
    });
    Ok(report.map_err(Error::from)?.training_sequences)
}
