//! The input of an update: what is learned, from where it starts, and under which settings.

use super::answerer::Load;
use super::replay::Earlier;
use super::report::Report;
use super::responders::Responders;
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::model::Adapter;
use crate::learn::ports::text_model::Helpers;

/// The input of an update.
pub struct UpdateInput<'a> {
    pub passage: &'a Passage,
    /// The adapter that writes the study notes; `None`: the base writes.
    pub policy: Option<Policy<'a>>,
    /// The caller's questions. If there are none, the model writes its own.
    pub given: &'a [Question],
    /// The live version. The new version continues it, unless the alias routes.
    pub live: Option<Live<'a>>,
    /// The documents that the live version has learned, oldest first.
    pub earlier: &'a [Earlier],
    /// Who answers for the alias now: for each of the earlier documents, and for other questions.
    pub responders: &'a Responders,
    /// Loads the adapter of another version, where the alias routes.
    pub load: &'a Load<'a>,
    pub options: &'a IngestOptions,
    /// The teacher and the judge, where the options ask for them.
    pub helpers: &'a Helpers,
    /// Hears the report whenever a stage is done, so that it can be read while the update runs.
    pub on_report: &'a OnReport<'a>,
}

/// Saves or shows the report so far.
pub type OnReport<'a> = dyn Fn(&Report) + 'a;

/// An adapter that writes study notes.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    /// `alias@version`, for the report.
    pub name: &'a str,
    pub adapter: &'a Adapter,
}

/// The version that answers for the alias now.
#[derive(Clone, Copy)]
pub struct Live<'a> {
    pub version: u64,
    pub adapter: &'a Adapter,
}
