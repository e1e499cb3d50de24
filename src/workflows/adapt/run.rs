//! The adapt job: it learns one task from its examples, answers the test inputs, and publishes the adapter.
//!
//! The job's alias is the name of the adapter: a throw-away name, or the client's name for an adapter to keep.

use crate::adapters::lineage::AdaptLineage;
use crate::adapters::{self, AliasName, Lineage, Registry, THROW_AWAY};
use crate::jobs::{Handler, JobContext, JobFailure};
use crate::learn::fewshot::{
    AdaptOptions, AdaptOutcome, AdaptReport, Adaptation, SelfEdit, Task, adapt,
};
use crate::learn::ports::journal::Journal;
use crate::learn::ports::model::{Adapter, Model};
use crate::store::{self, Version};
use crate::workflows::journal::JobJournal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AdaptInput {
    pub task: Task,
    /// The adapter that writes the configurations and is trained further; `None`: the base.
    pub adapter: Option<AliasName>,
    pub self_edit: Option<SelfEdit>,
    pub options: AdaptOptions,
    /// Lifetime of a throw-away adapter in seconds, from its publishing.
    pub ttl_seconds: Option<u64>,
}

/// The result of a succeeded adapt job.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AdaptResult {
    /// The `model` for further requests
    pub adapter: String,
    pub version: u64,
    /// Time at which the adapter is deleted; null if it is kept
    pub expires_at: Option<String>,
    #[serde(flatten)]
    pub report: AdaptReport,
}

impl AdaptInput {
    /// A new name for a throw-away adapter.
    pub fn throw_away_name() -> AliasName {
        let name = store::new_id(THROW_AWAY.trim_end_matches('-')).replace('_', "-");
        AliasName::parse(&name).expect("hexadecimal digits after a short word")
    }
}

pub struct AdaptHandler {
    model: Arc<dyn Model>,
    registry: Arc<Registry>,
    window: usize,
}

impl AdaptHandler {
    /// `window`: length of the context window in tokens.
    pub fn new(model: Arc<dyn Model>, registry: Arc<Registry>, window: usize) -> Self {
        AdaptHandler {
            model,
            registry,
            window,
        }
    }
}

impl Handler for AdaptHandler {
    fn run(&self, cx: &JobContext, input: Value) -> Result<Value, JobFailure> {
        let input: AdaptInput = serde_json::from_value(input)
            .map_err(|e| JobFailure::new("invalid_input", e.to_string()))?;
        let alias = AliasName::parse(&cx.job().alias)
            .map_err(|e| JobFailure::new("invalid_name", e.to_string()))?;
        if let Some(done) = self.published(cx, &alias)? {
            return Ok(done);
        }
        // The alias may be moved while its next version is trained. The job then starts over from the version that is
        // live now.
        loop {
            let from = input.adapter.as_ref().map(|a| self.live(a)).transpose()?;
            let number = from.as_ref().map(|(number, _)| *number);
            let adapter = from.as_ref().map(|(_, adapter)| adapter);
            // Steps belong to the version that the adaptation starts from.
            let prefix = format!("from {}:", number.unwrap_or(0));
            let journal = JobJournal::new(cx).with_key_prefix(prefix);
            let start = Adaptation {
                task: &input.task,
                given: input.self_edit.as_ref(),
                policy: adapter,
                init: adapter,
                options: &input.options,
                window: self.window,
            };
            let outcome =
                adapt(&*self.model, &start, &journal).map_err(|stop| journal.failure(stop))?;
            cx.remember(REPORT, &json!(outcome.report))?;
            let continues = input.adapter.as_ref() == Some(&alias);
            let live = number.filter(|_| continues);
            let lineage = lineage(cx, &input, number, &outcome);
            let published = self
                .registry
                .publish(&alias, live, &outcome.adapter.0, &lineage);
            match published {
                Ok(version) => return result(&version, outcome.report),
                Err(adapters::Error::Store(store::Error::Conflict { .. })) if continues => {
                    let message = "the adapter moved meanwhile; adapting its live version";
                    journal.event("moved", json!({"message": message}));
                }
                Err(error) => return Err(JobFailure::new("publish", error.to_string())),
            }
        }
    }
}

/// The step that keeps the report until its version is published.
const REPORT: &str = "report";

impl AdaptHandler {
    /// The result of an earlier run of this job that died after publishing.
    fn published(&self, cx: &JobContext, alias: &AliasName) -> Result<Option<Value>, JobFailure> {
        let Some(report) = cx.recall(REPORT)? else {
            return Ok(None);
        };
        let live = cx.store().aliases().live_version(alias.as_str())?;
        let Some(version) = live else {
            return Ok(None);
        };
        if Lineage::of(&version)?.job() != Some(cx.id()) {
            return Ok(None);
        }
        let report = serde_json::from_value(report)
            .map_err(|e| JobFailure::new("report", format!("it cannot be read back: {e}")))?;
        result(&version, report).map(Some)
    }

    fn live(&self, alias: &AliasName) -> Result<(u64, Adapter), JobFailure> {
        let resolved = self.registry.resolve(alias.as_str());
        let resolved = resolved.map_err(|e| JobFailure::new("adapter", e.to_string()))?;
        let both = resolved.version.zip(resolved.adapter);
        let ((_, number), loaded) = both.ok_or_else(|| {
            JobFailure::new("adapter", format!("{alias} is the base, not an adapter"))
        })?;
        Ok((number, Adapter(loaded.lora.clone())))
    }
}

fn result(version: &Version, report: AdaptReport) -> Result<Value, JobFailure> {
    let result = AdaptResult {
        adapter: version.alias.clone(),
        version: version.number,
        expires_at: Lineage::of(version)?.expires_at().map(str::to_owned),
        report,
    };
    // Go through text, which writes a rate of 0.001 with the digits of the f32 and not of the f64.
    let text = serde_json::to_string(&result);
    let value = text.and_then(|text| serde_json::from_str(&text));
    value.map_err(|e| JobFailure::new("report", e.to_string()))
}

/// The lineage of the new version.
fn lineage(
    cx: &JobContext,
    input: &AdaptInput,
    from: Option<u64>,
    outcome: &AdaptOutcome,
) -> Lineage {
    let report = &outcome.report;
    let from = input.adapter.as_ref().zip(from);
    Lineage::Adapt(Box::new(AdaptLineage {
        job: cx.id().to_owned(),
        demonstrations: input.task.train_len(),
        self_edit: report.self_edit.clone(),
        training: report.training.clone(),
        from: from.map(|(alias, number)| format!("{alias}@{number}")),
        expires_at: input.ttl_seconds.map(store::in_seconds),
    }))
}
