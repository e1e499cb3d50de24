//! The input of an update: what is learned, from where it starts, and under which settings.

use super::answerer::Load;
use super::replay::Earlier;
use super::report::Report;
use super::responders::Responders;
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::model::Adapter;
use crate::learn::ports::text_model::Helpers;

/// Cuts a passage into parts that a prompt has room for; a short passage is one part.
pub type Cut<'a> = dyn Fn(&Passage) -> Vec<Passage> + 'a;

/// The passage as one part.
pub fn uncut(passage: &Passage) -> Vec<Passage> {
    vec![passage.clone()]
}

/// The input of an update.
pub struct UpdateInput<'a> {
    pub passage: &'a Passage,
    /// Cuts a passage into the parts that it is learned in.
    pub cut: &'a Cut<'a>,
    /// The adapter that writes the study notes; `None`: the base writes.
    pub policy: Option<Policy<'a>>,
    /// The caller's questions. If there are none, the model writes its own.
    pub given: &'a [Question],
    /// The live version. The new version continues it, unless the alias routes.
    pub live: Option<Live<'a>>,
    /// The documents that the live version has learned, oldest first.
    pub earlier: &'a [Earlier],
    /// The earlier document whose place the new one takes, because the passage is its newer text.
    pub replaces: Option<Replaces<'a>>,
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

/// The earlier document that the new one replaces.
#[derive(Debug, Clone, Copy)]
pub struct Replaces<'a> {
    /// Its index among the earlier documents.
    pub place: usize,
    pub id: &'a str,
}

impl<'a> UpdateInput<'a> {
    /// The earlier document that the new one replaces.
    pub fn replaced(&self) -> Option<&'a Earlier> {
        self.replaces.map(|r| &self.earlier[r.place])
    }

    /// The earlier documents that stay: all but the replaced one.
    pub fn staying(&self) -> Vec<&'a Earlier> {
        let all = self.earlier.iter().enumerate();
        let gone = self.replaces.map(|r| r.place);
        all.filter(|(place, _)| Some(*place) != gone)
            .map(|(_, earlier)| earlier)
            .collect()
    }

    /// Who answers for the documents that stay, in their order.
    pub fn staying_responders(&self) -> Responders {
        match self.replaces {
            Some(replaced) => self.responders.clone().without(replaced.place),
            None => self.responders.clone(),
        }
    }
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
