//! The training job: a policy practises writing self-edits (`learn/outer`), and each round's policy becomes a version
//! of the job's alias.

use super::policies::JobPolicies;
use crate::adapters::{AliasName, Registry};
use crate::jobs::{Handler, JobContext, JobFailure};
use crate::learn::fewshot::practice::Solved;
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::error::OptionError;
use crate::learn::options::precedence::SettingsStack;
use crate::learn::options::update::IngestOptions;
use crate::learn::outer;
use crate::learn::outer::domain::Domain;
use crate::learn::outer::domains::fewshot::FewShotOptions;
use crate::learn::outer::domains::knowledge::{KnowledgeContext, KnowledgeOptions};
use crate::learn::outer::options::{Baseline, OuterOptions, Preset, TrainDomain};
use crate::learn::ports::journal::step;
use crate::learn::ports::model::{Adapter, Model};
use crate::pool::tasks::StoredTasks;
use crate::store;
use crate::workflows::journal::JobJournal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The stored input of the job. The contexts are a blob, so that the row stays small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainInput {
    pub domain: TrainDomain,
    pub preset: Preset,
    /// The given fields of [`OuterOptions`].
    pub outer: Map<String, Value>,
    /// The given fields of [`KnowledgeOptions`].
    pub knowledge: Map<String, Value>,
    /// The given fields of [`FewShotOptions`].
    pub fewshot: Map<String, Value>,
    /// Digest of the blob with a JSON list of [`TrainContext`], or of [`Solved`] tasks.
    pub contexts: String,
    pub context_count: usize,
    /// Digest of the contexts' texts (`learn::knowledge::datasets::digest`).
    pub contexts_digest: String,
    pub dataset: Option<String>,
}

/// A passage with its questions, to practise on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainContext {
    pub title: String,
    pub text: String,
    pub questions: Vec<Question>,
}

/// All settings of a run, as they were when it began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub outer: OuterOptions,
    pub knowledge: KnowledgeOptions,
    pub fewshot: FewShotOptions,
}

/// Default of held-out contexts: at most one in this number.
const HELD_OUT_SHARE: usize = 4;

impl Settings {
    /// Merges the given options over the preset over the model's tuned options, and checks the result.
    pub fn of(input: &TrainInput, tuned: &IngestOptions) -> Result<Self, OptionError> {
        let knowledge = input.knowledge.clone().into();
        let outer = Self::outer(input);
        let knowledge = KnowledgeOptions::merged(input.preset, tuned, &knowledge);
        let fewshot = FewShotOptions::merged(input.preset, &input.fewshot.clone().into());
        let unreadable = |e: serde_json::Error| OptionError {
            field: "options".into(),
            reason: e.to_string(),
        };
        let mut settings = Settings {
            outer: serde_json::from_value(outer).map_err(unreadable)?,
            knowledge: serde_json::from_value(knowledge).map_err(unreadable)?,
            fewshot: serde_json::from_value(fewshot).map_err(unreadable)?,
        };
        settings.outer.validate()?;
        settings.knowledge.validate()?;
        settings.knowledge.fits(&settings.outer)?;
        settings.fewshot.validate()?;
        if input.domain == TrainDomain::Fewshot && settings.outer.baseline != Baseline::Base {
            return Err(OptionError {
                field: "baseline".into(),
                reason: "of a task nothing is learned without a self-edit, so gains are counted from `base`".into(),
            });
        }
        let (given, count) = (input.outer.contains_key("held_out"), input.context_count);
        let held_out = &mut settings.outer.held_out;
        if !given {
            *held_out = (*held_out).min(count / HELD_OUT_SHARE);
        }
        if *held_out >= count {
            return Err(OptionError {
                field: "held_out".into(),
                reason: format!("{held_out} of {count} contexts leave none to practise on"),
            });
        }
        Ok(settings)
    }

    /// The loop's options as JSON of [`OuterOptions`]: the given options over the domain's own over the preset.
    pub fn outer(input: &TrainInput) -> Value {
        let mut over = match input.domain {
            TrainDomain::Knowledge => Map::new(),
            TrainDomain::Fewshot => FewShotOptions::outer(input.preset),
        };
        over.extend(input.outer.clone());
        OuterOptions::merged(input.preset, &over.into())
    }
}

pub struct TrainHandler {
    model: Arc<dyn Model>,
    /// Further engines that measure candidates.
    others: Vec<Arc<dyn Model>>,
    registry: Arc<Registry>,
    learning: SettingsStack,
}

impl TrainHandler {
    /// `model` writes self-edits and is fine-tuned. It and the `others` measure candidates.
    pub fn new(
        model: Arc<dyn Model>,
        others: Vec<Arc<dyn Model>>,
        registry: Arc<Registry>,
        learning: SettingsStack,
    ) -> Self {
        TrainHandler {
            model,
            others,
            registry,
            learning,
        }
    }

    fn settings(&self, input: &TrainInput) -> Result<Settings, OptionError> {
        Settings::of(input, &self.learning.tuned())
    }

    fn adapter(&self, alias: &AliasName, version: u64) -> Result<Adapter, JobFailure> {
        let name = format!("{alias}@{version}");
        let lost = || JobFailure::new("adapter", format!("{name} is gone"));
        let resolved = self.registry.resolve(&name);
        let resolved = resolved.map_err(|e| JobFailure::new("adapter", e.to_string()))?;
        let loaded = resolved.adapter.ok_or_else(lost)?;
        Ok(Adapter(loaded.lora.clone()))
    }
}

impl TrainHandler {
    fn practise<D: Domain>(
        &self,
        policies: &JobPolicies<'_>,
        domain: &D,
        contexts: &[D::Context],
        options: &OuterOptions,
        start: Started,
    ) -> Result<outer::OuterOutcome, JobFailure> {
        let (journal, cx) = (&policies.journal, policies.journal.cx);
        let others: Vec<&dyn Model> = self.others.iter().map(|m| &**m).collect();
        let start = outer::OuterLoop {
            model: &*self.model,
            others: &others,
            tasks: &StoredTasks::new(cx.store().clone(), cx.id()),
            domain,
            contexts,
            options,
            policy: start.policy,
            practised: &start.practised,
            journal,
            policies,
        };
        outer::run(&start).map_err(|stop| journal.failure(stop))
    }
}

impl Handler for TrainHandler {
    fn run(&self, cx: &JobContext, input: Value) -> Result<Value, JobFailure> {
        let input: TrainInput = serde_json::from_value(input)
            .map_err(|e| JobFailure::new("invalid_input", e.to_string()))?;
        let alias = AliasName::parse(&cx.job().alias)
            .map_err(|e| JobFailure::new("invalid_name", e.to_string()))?;
        let blob = cx.store().blobs().get(&input.contexts)?;
        let policies = JobPolicies {
            journal: JobJournal::new(cx),
            alias: &alias,
            registry: &self.registry,
            input: &input,
            keys: keys(contexts(&blob)?),
        };
        let journal = &policies.journal;
        let settled = step(journal, "settings", || {
            let invalid = |e: OptionError| JobFailure::new("invalid_options", e.to_string());
            let settings = self.settings(&input).map_err(invalid);
            settings.map_err(|e| journal.interrupt(e))
        });
        let settings: Settings = settled.map_err(|stop| journal.failure(stop))?;
        let version = policies.started().map_err(|s| journal.failure(s))?;
        let practised = policies.practised_before(version)?;
        let all = 0..policies.keys.len();
        let start = Started {
            policy: version.map(|v| self.adapter(&alias, v)).transpose()?,
            practised: all
                .filter(|i| practised.contains(&policies.keys[*i]))
                .collect(),
        };
        let outer = &settings.outer;
        let outcome = match input.domain {
            TrainDomain::Knowledge => {
                let cases = cases(contexts(&blob)?);
                self.practise(&policies, &settings.knowledge, &cases, outer, start)
            }
            TrainDomain::Fewshot => {
                let tasks: Vec<Solved> = contexts(&blob)?;
                self.practise(&policies, &settings.fewshot, &tasks, outer, start)
            }
        }?;
        Ok(json!({
            "policy": alias.as_str(),
            "started_from": version,
            "versions": outcome.versions,
            "contexts": input.context_count,
            "contexts_digest": input.contexts_digest,
            "dataset": input.dataset,
            "notes": outcome.report.notes(outer),
            "settings": settings,
            "report": outcome.report,
        }))
    }
}

fn contexts<T: DeserializeOwned>(blob: &[u8]) -> Result<Vec<T>, JobFailure> {
    serde_json::from_slice(blob).map_err(|e| JobFailure::new("invalid_input", e.to_string()))
}

fn cases(contexts: Vec<TrainContext>) -> Vec<KnowledgeContext> {
    let case =
        |c: TrainContext| KnowledgeContext::new(Passage::posted(&c.title, &c.text), c.questions);
    contexts.into_iter().map(case).collect()
}

/// Keys of contexts, the same in all jobs and independent of the questions: the start of a digest.
fn keys(contexts: Vec<Value>) -> Vec<String> {
    let key = |mut context: Value| {
        if let Some(fields) = context.as_object_mut() {
            fields.remove("questions");
        }
        let digest = store::digest(context.to_string().as_bytes());
        digest.trim_start_matches("sha256:")[..16].to_owned()
    };
    contexts.into_iter().map(key).collect()
}

/// The start of a run: the policy, and the contexts that it has practised on already.
struct Started {
    policy: Option<Adapter>,
    practised: Vec<usize>,
}
