//! The ingest job: it learns its documents one after another, and each becomes a version of the alias.
//!
//! If the model fails on a document, the document is marked failed with the reason, and the job goes on with the next
//! one. The job fails only if no document came to a decision.

use super::earlier::{Learned, lineage};
use super::events::{self, emit_decision, emit_state, is_over, save_report};
use super::scores;
use crate::adapters::records::{finished_report, report};
use crate::adapters::{self, AliasName, Lineage, Registry, Routes};
use crate::jobs::{Handler, JobContext, JobFailure};
use crate::learn::inner::input::{Live, Policy, UpdateInput};
use crate::learn::inner::report::{Decision, Origin, Report};
use crate::learn::inner::update::learn;
use crate::learn::knowledge::Passage;
use crate::learn::options::error::OptionError;
use crate::learn::options::precedence::SettingsStack;
use crate::learn::options::strategy::Strategy;
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::journal::{self, Journal};
use crate::learn::ports::model::{Adapter, Model};
use crate::learn::ports::text_model::Helpers;
use crate::store::{
    self, Document, DocumentState, GateVerdict, NewProbe, ProbeOrigin, Record, Replaced,
};
use crate::workflows::journal::JobJournal;
use crate::workflows::lengths;
use serde_json::{Value, json};
use std::sync::Arc;

pub struct IngestHandler {
    model: Arc<dyn Model>,
    registry: Arc<Registry>,
    learning: SettingsStack,
    helpers: Helpers,
}

impl IngestHandler {
    pub fn new(model: Arc<dyn Model>, registry: Arc<Registry>, learning: SettingsStack) -> Self {
        IngestHandler {
            model,
            registry,
            learning,
            helpers: Helpers::default(),
        }
    }

    /// Adds a teacher and a judge. Fails if a settings layer names one that does not exist.
    pub fn with_helpers(mut self, helpers: Helpers) -> Result<Self, OptionError> {
        let options = self.learning.tuned();
        options.check_helpers(helpers.teacher.is_some(), helpers.judge.is_some())?;
        self.helpers = helpers;
        Ok(self)
    }

    fn options(
        &self,
        input: &Value,
        made_by: Option<Strategy>,
    ) -> Result<IngestOptions, JobFailure> {
        let mut request = input.clone();
        if let Some(fields) = request.as_object_mut() {
            fields.remove("documents");
        }
        let options = self.learning.under(&request, made_by);
        options.map_err(|e| JobFailure::new("invalid_options", e.to_string()))
    }
}

impl Handler for IngestHandler {
    fn run(&self, cx: &JobContext, input: Value) -> Result<Value, JobFailure> {
        let alias = AliasName::parse(&cx.job().alias)
            .map_err(|e| JobFailure::new("invalid_name", e.to_string()))?;
        let documents = cx.store().documents().for_job(cx.id())?;
        let count = documents.len();
        for (nth, document) in documents.iter().enumerate() {
            let place = (nth, count);
            match document.state {
                DocumentState::Queued | DocumentState::Learning => {
                    self.learn_one(cx, &alias, &input, document, place)?;
                }
                // An earlier run of this job finished the document, but the process may have died before the
                // events were stored.
                DocumentState::Learned | DocumentState::Replaced | DocumentState::Refused => {
                    self.conclude_again(cx, &alias, document, place)?;
                }
                DocumentState::Failed => {
                    let journal = &events::journal(cx, document, place, None);
                    self.emit_failed(journal, document)?;
                }
                DocumentState::Cancelled => {}
            }
        }
        let documents = cx.store().documents().for_job(cx.id())?;
        all_failed(&documents)?;
        let live = cx
            .store()
            .aliases()
            .get(alias.as_str())?
            .and_then(|a| a.live);
        let rows: Result<Vec<Value>, JobFailure> = documents.iter().map(summary).collect();
        Ok(json!({"documents": rows?, "live_version": live}))
    }
}

impl IngestHandler {
    fn learn_one(
        &self,
        cx: &JobContext,
        alias: &AliasName,
        input: &Value,
        document: &Document,
        place: (usize, usize),
    ) -> Result<(), JobFailure> {
        let store = cx.store();
        let passage = Passage::posted(&document.title, &document.text);
        store
            .documents()
            .set_state(&document.id, DocumentState::Learning, None)?;

        // The alias may be moved during the update (a rollback, an upload). The update would then continue a
        // version that is no longer live, so it starts over.
        loop {
            let live = self.live(alias)?;
            let number = live.as_ref().map(|live| live.number);
            let routes = live.as_ref().and_then(|live| live.routes.as_ref());
            // A version that has lost all its documents is the base.
            let nothing = routes.is_some_and(Routes::is_base);
            let options = &self.options(input, made_by(store, alias, number)?)?;
            let journal = &events::journal(cx, document, place, number);
            emit_state(journal, document, DocumentState::Learning);
            let policy = match self.policy(options.self_edit.policy.as_deref()) {
                Ok(policy) => policy,
                Err(reason) => return self.fail(journal, document, &reason),
            };
            let earlier = Learned::of(store, alias, number, routes)?;
            let replaces = earlier.replaced_by(store, document)?;
            let load = |number| {
                let loaded = self.registry.load_number(alias, number);
                let loaded = loaded.map_err(|e| journal.interrupt(e))?;
                Ok(Adapter(loaded.lora.clone()))
            };
            let start = UpdateInput {
                passage: &passage,
                cut: &|passage| lengths::cut(&*self.model, passage),
                policy: policy
                    .as_ref()
                    .map(|(name, adapter)| Policy { name, adapter }),
                given: &document.questions,
                live: live.as_ref().filter(|_| !nothing).map(|live| Live {
                    version: live.number,
                    adapter: &live.adapter,
                }),
                earlier: &earlier.documents,
                replaces,
                responders: &earlier.responders,
                load: &load,
                options,
                helpers: &self.helpers,
                on_report: &|report| save_report(cx, document, report),
            };
            let outcome = match learn(&*self.model, &start, journal) {
                Ok(outcome) => outcome,
                Err(journal::Interrupted::Model(error)) if !is_over(&error) => {
                    return self.fail(journal, document, &error.to_string());
                }
                Err(stop) => return Err(journal.failure(stop)),
            };
            let report = outcome.report;
            let Some(adapter) = outcome.adapter else {
                store
                    .documents()
                    .set_state(&document.id, DocumentState::Refused, None)?;
                return self.conclude(journal, document, alias, report, None);
            };
            let place = replaces.map(|r| r.place);
            let lineage = lineage(document, &report, options, earlier, place);
            let learned = adapters::Learned {
                documents: vec![document.id.clone()],
                replaced: replaced(document, &report),
            };
            self.keep_probes(store, document, alias, &report)?;
            match self
                .registry
                .publish_learned(alias, number, &adapter.0, &lineage, learned)
            {
                Ok(version) => {
                    return self.conclude(journal, document, alias, report, Some(version.number));
                }
                Err(adapters::Error::Store(store::Error::Conflict { .. })) => {
                    let message = "the alias moved meanwhile; learning from its live version";
                    journal.event("moved", json!({"message": message}));
                }
                Err(error) => return Err(JobFailure::new("publish", error.to_string())),
            }
        }
    }

    /// Stores the report and emits the outcome. The outcome itself is durable already.
    fn conclude(
        &self,
        journal: &JobJournal,
        document: &Document,
        alias: &AliasName,
        mut report: Report,
        version: Option<u64>,
    ) -> Result<(), JobFailure> {
        if let Some(decision) = &mut report.decision {
            decision.version = version;
        }
        let cx = journal.cx;
        save_report(cx, document, &report);
        let documents = cx.store().documents();
        match version {
            Some(version) => {
                scores::keep(cx.store(), document, alias, &report, version)?;
                let gentler = report.decision.as_ref().is_some_and(|d| d.gentler);
                documents.set_verdict(
                    &document.id,
                    match gentler {
                        true => GateVerdict::Gentler,
                        false => GateVerdict::Accepted,
                    },
                )?;
            }
            None => documents.set_verdict(&document.id, GateVerdict::Refused)?,
        }
        emit_decision(journal, document, &report);
        cx.remember(&emitted_key(document), &Value::Bool(true))?;
        Ok(())
    }

    /// Marks the document failed. Other documents may still be learned.
    fn fail(
        &self,
        journal: &JobJournal,
        document: &Document,
        reason: &str,
    ) -> Result<(), JobFailure> {
        let (id, documents) = (&document.id, journal.cx.store().documents());
        let stored = documents.get(id)?;
        let stored = stored.as_ref().map(report).transpose()?.flatten();
        let mut report = stored.unwrap_or_default();
        report.decision = Some(Decision {
            accepted: false,
            gentler: false,
            reason: reason.to_owned(),
            version: None,
        });
        documents.set_report(id, &report.encode()?, events::scores_of(&report))?;
        documents.set_state(id, DocumentState::Failed, None)?;
        self.emit_failed(journal, document)
    }

    /// Emits the failure once, even if the process died between the failure and the event.
    fn emit_failed(&self, journal: &JobJournal, document: &Document) -> Result<(), JobFailure> {
        let key = emitted_key(document);
        if journal.cx.recall(&key)?.is_some() {
            return Ok(());
        }
        let documents = journal.cx.store().documents();
        let stored = documents.get(&document.id)?;
        let reason = stored.as_ref().map(reason).transpose()?.flatten();
        let (title, state) = (&document.title, DocumentState::Failed);
        journal.event(
            "document",
            json!({"title": title, "state": state, "reason": reason}),
        );
        journal.cx.remember(&key, &Value::Bool(true))?;
        Ok(())
    }

    fn conclude_again(
        &self,
        cx: &JobContext,
        alias: &AliasName,
        document: &Document,
        place: (usize, usize),
    ) -> Result<(), JobFailure> {
        if cx.recall(&emitted_key(document))?.is_some() {
            return Ok(());
        }
        let report = finished_report(document)?;
        let journal = &events::journal(cx, document, place, document.version);
        self.conclude(journal, document, alias, report, document.version)
    }

    fn live(&self, alias: &AliasName) -> Result<Option<LiveVersion>, JobFailure> {
        match self.registry.resolve(alias.as_str()) {
            Ok(resolved) => {
                let (version, routes) = (resolved.version, resolved.routes);
                let found = version.zip(resolved.adapter);
                Ok(found.map(|((_, number), loaded)| LiveVersion {
                    number,
                    adapter: Adapter(loaded.lora.clone()),
                    routes,
                }))
            }
            Err(adapters::Error::Unknown { .. }) => Ok(None),
            Err(error) => Err(JobFailure::new("adapter", error.to_string())),
        }
    }

    /// The policy that writes self-edits: its name with version, and its adapter. `None`: the base.
    fn policy(&self, named: Option<&str>) -> Result<Option<(String, Adapter)>, String> {
        let Some(named) = named else {
            return Ok(None);
        };
        let resolved = self.registry.resolve(named);
        let resolved = resolved.map_err(|e| format!("self_edit.policy: {e}"))?;
        let found = resolved.version.zip(resolved.adapter);
        Ok(found.map(|((alias, number), loaded)| {
            let name = format!("{}@{number}", alias.as_str());
            (name, Adapter(loaded.lora.clone()))
        }))
    }

    /// Stores the probes. This happens before the version is published, so that no live version lacks its probes.
    fn keep_probes(
        &self,
        store: &store::Store,
        document: &Document,
        alias: &AliasName,
        report: &Report,
    ) -> Result<(), JobFailure> {
        let probes = report.probes.iter().map(|p| NewProbe {
            question: p.question.clone(),
            answer: p.answer.clone(),
            origin: match p.origin {
                Origin::Given => ProbeOrigin::Given,
                Origin::Written => ProbeOrigin::Written,
                Origin::Kept => ProbeOrigin::Kept,
            },
        });
        let probes: Vec<NewProbe> = probes.collect();
        store
            .probes()
            .insert_many(&document.id, alias.as_str(), &probes)?;
        Ok(())
    }
}

/// The document that the new one replaces, with its retired probes.
fn replaced(document: &Document, report: &Report) -> Vec<Replaced> {
    let replaced = report.replaced.iter().map(|old| Replaced {
        document: old.document.clone(),
        by: document.id.clone(),
        retired: (old.retired())
            .map(|p| (p.probe.clone(), p.note.clone()))
            .collect(),
    });
    replaced.collect()
}

/// The live version that an update starts from.
struct LiveVersion {
    number: u64,
    adapter: Adapter,
    routes: Option<Routes>,
}

/// The strategy for the next update after this version: the strategy of its ingest, or replay for an uploaded or
/// adapted version.
pub fn made_by(
    store: &store::Store,
    alias: &AliasName,
    live: Option<u64>,
) -> adapters::Result<Option<Strategy>> {
    let Some(live) = live else {
        return Ok(None);
    };
    let version = store.aliases().version(alias.as_str(), live)?;
    let lineage = version.as_ref().map(Lineage::of).transpose()?;
    let strategy = lineage.and_then(|lineage| lineage.strategy());
    Ok(Some(strategy.unwrap_or(Strategy::Replay)))
}

/// Fails with the first failed document's reason if no document came to a decision.
fn all_failed(documents: &[Document]) -> Result<(), JobFailure> {
    let decided = [
        DocumentState::Learned,
        DocumentState::Replaced,
        DocumentState::Refused,
    ];
    let failed = documents.iter().find(|d| d.state == DocumentState::Failed);
    match failed {
        Some(failed) if !documents.iter().any(|d| decided.contains(&d.state)) => {
            let reason = reason(failed)?;
            let reason = reason.unwrap_or_else(|| "the model failed".into());
            Err(JobFailure::new("model", reason))
        }
        _ => Ok(()),
    }
}

/// The key of the step that records that a document's outcome was emitted.
fn emitted_key(document: &Document) -> String {
    // Earlier builds stored the step under this key.
    format!("{}:told", document.id)
}

fn summary(document: &Document) -> Result<Value, JobFailure> {
    let report = report(document)?.unwrap_or_default();
    Ok(json!({
        "id": document.id,
        "title": document.title,
        "state": document.state,
        "version": document.version,
        "replaces": report.replaced.as_ref().map(|old| old.document.clone()),
        "score_before": report.score_before,
        "score_after": report.score_after,
        "seconds": report.seconds,
        "tokens": report.tokens,
        "reason": report.decision.map(|d| d.reason),
    }))
}

fn reason(document: &Document) -> Result<Option<String>, store::Error> {
    let decision = report(document)?.and_then(|r| r.decision);
    Ok(decision.map(|d| d.reason))
}
