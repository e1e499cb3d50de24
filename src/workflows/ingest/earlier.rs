//! What the alias has learned before an update, and the lineage of the version after it.

use crate::adapters::lineage::{IngestLineage, LearnedDocument};
use crate::adapters::records::training_texts;
use crate::adapters::{AliasName, Lineage, Routes};
use crate::jobs::JobFailure;
use crate::learn::inner::input::Replaces;
use crate::learn::inner::replay::{Earlier, Probe};
use crate::learn::inner::report::Report;
use crate::learn::inner::responders::Responders;
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::strategy::Strategy;
use crate::learn::options::update::IngestOptions;
use crate::store::{self, Document, DocumentState};
use std::collections::HashSet;

/// The learned documents of the live version, for replay and retention.
pub(super) struct Learned {
    /// The documents' ids.
    ids: Vec<String>,
    pub documents: Vec<Earlier>,
    pub responders: Responders,
}

impl Learned {
    pub fn of(
        store: &store::Store,
        alias: &AliasName,
        live: Option<u64>,
        routes: Option<&Routes>,
    ) -> Result<Self, JobFailure> {
        let line = match live {
            Some(number) => store.aliases().line(alias.as_str(), number)?,
            None => HashSet::new(),
        };
        let (mut ids, mut documents, mut responders) = (Vec::new(), Vec::new(), Vec::new());
        for document in store.documents().learned(alias.as_str())? {
            if document
                .version
                .is_none_or(|version| !line.contains(&version))
            {
                continue;
            }
            let probes = store.probes().for_document(&document.id)?;
            let probe = |p: store::Probe| Probe {
                id: p.id,
                question: Question {
                    question: p.question,
                    answer: p.answer,
                },
            };
            let texts = training_texts(&document)?;
            documents.push(Earlier {
                passage: Passage::posted(&document.title, &document.text),
                texts,
                probes: probes.into_iter().map(probe).collect(),
            });
            let routed = routes.and_then(|r| r.of_document(&document.id));
            responders.push(routed.unwrap_or(live.into()));
            ids.push(document.id);
        }
        let responders = match routes {
            Some(routes) => Responders::by_document(responders, routes.responders.otherwise()),
            None => Responders::one(live.into(), documents.len()),
        };
        Ok(Learned {
            ids,
            documents,
            responders,
        })
    }

    /// The document that `document` replaces, if the live version knows it. Where the document that was to be replaced
    /// was not learned itself, or was replaced meanwhile, the one in its place counts.
    pub fn replaced_by<'d>(
        &'d self,
        store: &store::Store,
        document: &Document,
    ) -> Result<Option<Replaces<'d>>, JobFailure> {
        let mut next = document.replaces.clone();
        let mut seen = HashSet::from([document.id.clone()]);
        while let Some(id) = next {
            if let Some(place) = self.ids.iter().position(|known| *known == id) {
                let id = &self.ids[place];
                return Ok(Some(Replaces { place, id }));
            }
            if !seen.insert(id.clone()) {
                break;
            }
            next = store.documents().get(&id)?.and_then(|old| match old.state {
                DocumentState::Replaced => old.replaced_by,
                _ => old.replaces,
            });
        }
        Ok(None)
    }

    /// The routes after `document` is learned too, in place of the document at `replaced`.
    pub fn with(
        mut self,
        document: &Document,
        replaced: Option<usize>,
        continued: Option<u64>,
    ) -> Routes {
        if let Some(place) = replaced {
            self.ids.remove(place);
            self.responders = self.responders.without(place);
        }
        self.ids.push(document.id.clone());
        Routes {
            documents: self.ids,
            responders: self.responders.after_update(true, continued),
        }
    }
}

/// The lineage of the new version.
pub(super) fn lineage(
    document: &Document,
    report: &Report,
    options: &IngestOptions,
    earlier: Learned,
    replaced: Option<usize>,
) -> Lineage {
    // An acceptable attempt may be followed by one that was not.
    let accepted = report.attempts.iter().rev().find(|a| a.accepted);
    let last = accepted.or(report.attempts.last());
    let routes = options.training.strategy == Strategy::Route;
    Lineage::Ingest(Box::new(IngestLineage {
        strategy: options.training.strategy,
        documents: vec![LearnedDocument {
            id: document.id.clone(),
            title: document.title.clone(),
        }],
        replaced: report.replaced.as_ref().map(|old| LearnedDocument {
            id: old.document.clone(),
            title: old.title.clone(),
        }),
        self_edit: options.self_edit.clone(),
        update: last.map(|a| a.update.clone()),
        score_before: report.score_before,
        score_after: report.score_after,
        retention: report.retention,
        general: report.general_retention(),
        scale: last.and_then(|a| a.scale),
        training_sequences: report.training_sequences.len(),
        replayed_sequences: report.replayed_sequences,
        routes: routes.then(|| earlier.with(document, replaced, report.continued).record()),
    }))
}
