//! The training job: a policy practises writing self-edits (`learn::outer`), and each round's policy is a
//! version of the job's alias.

use crate::adapters::{self, AliasName, Registry};
use crate::jobs::{Handler, JobContext, JobFailure};
use crate::learn::fewshot::domain::FewShotOptions;
use crate::learn::fewshot::practice::Solved;
use crate::learn::knowledge::domain::{KnowledgeContext, KnowledgeOptions};
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::precedence::SettingsStack;
use crate::learn::options::update::{IngestOptions, OptionError};
use crate::learn::outer::options::{Baseline, OuterOptions, Preset};
use crate::learn::outer::report::{PolicyUpdate, Round};
use crate::learn::outer::{self, PolicyStore};
use crate::learn::ports::domain::Domain;
use crate::learn::ports::journal::{self, Journal, step};
use crate::learn::ports::model::{Adapter, Model};
use crate::pool::tasks::StoredTasks;
use crate::store;
use crate::workflows::reason::Reason;
use autodidact_engine::lora::peft;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use utoipa::ToSchema;

/// The source that the lineage of a trained policy names.
const TRAINED: &str = "train";

/// What the job is stored with. The contexts are a blob, so that the row stays small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainInput {
    pub domain: TrainDomain,
    pub preset: Preset,
    /// Of [`OuterOptions`]: those that were given.
    pub outer: Map<String, Value>,
    /// Of [`KnowledgeOptions`]: those that were given.
    pub knowledge: Map<String, Value>,
    /// Of [`FewShotOptions`]: those that were given.
    pub fewshot: Map<String, Value>,
    /// The blob: a list of [`TrainContext`], or of [`Solved`] tasks.
    pub contexts: String,
    pub context_count: usize,
    /// Names the contexts' texts (`learn::datasets::digest`).
    pub contexts_digest: String,
    pub dataset: Option<String>,
}

/// What kind of task the policy writes self-edits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainDomain {
    /// Passages with questions
    Knowledge,
    /// Tasks with demonstrations: grids or texts
    Fewshot,
}

/// What is practised on.
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

/// Held-out contexts, where the request says nothing: at most one in so many.
const HELD_OUT_SHARE: usize = 4;

impl Settings {
    /// What was given over the preset over what the model is tuned to, checked.
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

    /// The loop's options: what was given over the domain's own over the preset, to be read as
    /// [`OuterOptions`].
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
    /// Engines that measure candidates beside it.
    others: Vec<Arc<dyn Model>>,
    registry: Arc<Registry>,
    learning: SettingsStack,
}

impl TrainHandler {
    /// `model` writes and is fine-tuned; candidates are measured on it and on the `others`.
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
        practice: &Practice<'_>,
        domain: &D,
        contexts: &[D::Context],
        options: &OuterOptions,
        start: Started,
    ) -> Result<outer::OuterOutcome, JobFailure> {
        let others: Vec<&dyn Model> = self.others.iter().map(|m| &**m).collect();
        let start = outer::OuterLoop {
            model: &*self.model,
            others: &others,
            tasks: &StoredTasks::new(practice.cx.store().clone(), practice.cx.id()),
            domain,
            contexts,
            options,
            policy: start.policy,
            practised: &start.practised,
            journal: practice,
            policies: practice,
        };
        outer::run(&start).map_err(|stop| practice.reason.failure(stop))
    }
}

impl Handler for TrainHandler {
    fn run(&self, cx: &JobContext, input: Value) -> Result<Value, JobFailure> {
        let input: TrainInput = serde_json::from_value(input)
            .map_err(|e| JobFailure::new("invalid_input", e.to_string()))?;
        let alias = AliasName::parse(&cx.job().alias)
            .map_err(|e| JobFailure::new("invalid_name", e.to_string()))?;
        let blob = cx.store().blobs().get(&input.contexts)?;
        let practice = Practice {
            cx,
            alias: &alias,
            registry: &self.registry,
            input: &input,
            keys: keys(contexts(&blob)?),
            reason: Reason::default(),
        };
        let settled = step(&practice, "settings", || {
            let invalid = |e: OptionError| JobFailure::new("invalid_options", e.to_string());
            let settings = self.settings(&input).map_err(invalid);
            settings.map_err(|e| practice.reason.stop(e))
        });
        let settings: Settings = settled.map_err(|stop| practice.reason.failure(stop))?;
        let version = practice.started().map_err(|s| practice.reason.failure(s))?;
        let practised = practice.practised_before(version)?;
        let all = 0..practice.keys.len();
        let start = Started {
            policy: version.map(|v| self.adapter(&alias, v)).transpose()?,
            practised: all
                .filter(|i| practised.contains(&practice.keys[*i]))
                .collect(),
        };
        let outer = &settings.outer;
        let outcome = match input.domain {
            TrainDomain::Knowledge => {
                let cases = cases(contexts(&blob)?);
                self.practise(&practice, &settings.knowledge, &cases, outer, start)
            }
            TrainDomain::Fewshot => {
                let tasks: Vec<Solved> = contexts(&blob)?;
                self.practise(&practice, &settings.fewshot, &tasks, outer, start)
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

/// What tells contexts apart over jobs, whatever is asked about them: the start of a digest.
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

/// Where a run begins: the policy, and which of the contexts it has practised on already.
struct Started {
    policy: Option<Adapter>,
    practised: Vec<usize>,
}

/// The run's journal and policies over the job's context.
struct Practice<'a> {
    cx: &'a JobContext,
    alias: &'a AliasName,
    registry: &'a Registry,
    input: &'a TrainInput,
    /// Of the contexts.
    keys: Vec<String>,
    reason: Reason,
}

impl Practice<'_> {
    /// The version that is practised from: a later life goes on from where the first began, wherever the alias is by
    /// then.
    fn started(&self) -> Result<Option<u64>, journal::Interrupted> {
        step(self, "start", || {
            let live = self.cx.store().aliases().get(self.alias.as_str());
            let live = live.map_err(|e| self.reason.stop(e.into()))?;
            Ok(live.and_then(|a| a.live))
        })
    }

    /// Keys of all contexts that a version's policy practised on, in whatever job.
    fn practised_before(&self, version: Option<u64>) -> Result<HashSet<String>, store::Error> {
        let Some(version) = version else {
            return Ok(HashSet::new());
        };
        let aliases = self.cx.store().aliases();
        let lineage = aliases
            .version(self.alias.as_str(), version)?
            .map(|v| v.lineage);
        let keys = lineage.as_ref().and_then(|l| l["practised"].as_array());
        let keys = keys.into_iter().flatten().filter_map(Value::as_str);
        Ok(keys.map(str::to_owned).collect())
    }

    /// The version that an earlier life made of this round and died before it could remember.
    fn published(&self, live: Option<u64>, round: usize) -> Result<Option<u64>, store::Error> {
        let Some(live) = live else { return Ok(None) };
        let version = self
            .cx
            .store()
            .aliases()
            .version(self.alias.as_str(), live)?;
        let ours = |v: &store::Version| {
            v.lineage["job"] == self.cx.id() && v.lineage["round"] == json!(round)
        };
        Ok(version.filter(ours).map(|v| v.number))
    }

    fn lineage(&self, round: &Round, practised: &[usize]) -> Result<Value, journal::Interrupted> {
        let before = self.practised_before(self.started()?);
        let mut keys = before.map_err(|e| self.reason.stop(e.into()))?;
        keys.extend(practised.iter().map(|i| self.keys[*i].clone()));
        let mut keys: Vec<String> = keys.into_iter().collect();
        keys.sort();
        let held_out = round.held_out.as_ref();
        Ok(json!({
            "source": TRAINED,
            "job": self.cx.id(),
            "domain": self.input.domain,
            "round": round.round,
            "reward": {"kind": round.reward_kind, "baseline": round.baseline, "mean": round.reward,
                "best": round.best_reward},
            "kept": round.kept.len(),
            "update": round.policy,
            "score": held_out.map(|h| h.gain.mean),
            "held_out": held_out.map(|h| json!({"gain": h.gain, "accuracy_before": h.accuracy_before,
                "accuracy_after": h.accuracy_after, "contexts": h.contexts})),
            "contexts_digest": self.input.contexts_digest,
            "practised": keys,
        }))
    }
}

impl Journal for Practice<'_> {
    fn recall(&self, key: &str) -> Result<Option<Value>, journal::Interrupted> {
        self.cx.recall(key).map_err(|e| self.reason.stop(e.into()))
    }

    fn remember(&self, key: &str, value: &Value) -> Result<(), journal::Interrupted> {
        self.cx
            .remember(key, value)
            .map_err(|e| self.reason.stop(e.into()))
    }

    fn remember_and_tell(
        &self,
        key: &str,
        value: &Value,
        kind: &str,
        data: Value,
    ) -> Result<(), journal::Interrupted> {
        let told = self.cx.remember_and_tell(key, value, kind, &data);
        told.map_err(|e| self.reason.stop(e.into()))
    }

    fn progress(&self, stage: &str, fraction: f32, message: &str) {
        if let Err(error) = self.cx.progress(stage, fraction, message) {
            tracing::warn!(%error, "progress is lost");
        }
    }

    fn event(&self, kind: &str, data: Value) {
        if let Err(error) = self.cx.event(kind, data) {
            tracing::warn!(%error, "an event is lost");
        }
    }

    /// Reports are of documents, and there is none.
    fn report(&self, _: &crate::learn::inner::report::Report) {}

    fn check(&self) -> Result<(), journal::Interrupted> {
        self.cx
            .check()
            .map_err(|stop| self.reason.stop(stop.into()))
    }
}

/// A policy between its training and its publishing: the blobs of its files, which stay while this
/// unfinished job names them.
#[derive(Serialize, Deserialize)]
struct StoredPolicy {
    config_blob: String,
    weights_blob: String,
    about: PolicyUpdate,
}

impl PolicyStore for Practice<'_> {
    fn save(
        &self,
        key: &str,
        policy: &Adapter,
        about: &PolicyUpdate,
    ) -> Result<(), journal::Interrupted> {
        let files = peft::to_files(&policy.0, self.registry.base_id());
        let blobs = self.cx.store().blobs().guard();
        let put = |bytes: &[u8]| blobs.put(bytes).map_err(|e| self.reason.stop(e.into()));
        let kept = json!(StoredPolicy {
            config_blob: put(&files.config_json)?,
            weights_blob: put(&files.safetensors)?,
            about: about.clone(),
        });
        self.remember(key, &kept)
    }

    fn load(&self, key: &str) -> Result<Option<(Adapter, PolicyUpdate)>, journal::Interrupted> {
        let Some(kept) = journal::recalled::<StoredPolicy>(self, key)? else {
            return Ok(None);
        };
        let blobs = self.cx.store().blobs();
        let get = |digest: &str| blobs.get(digest).map_err(|e| self.reason.stop(e.into()));
        let (config, weights) = (get(&kept.config_blob)?, get(&kept.weights_blob)?);
        let lora = self.registry.read(&config, &weights);
        let lora = lora.map_err(|e| self.reason.stop(JobFailure::new("adapter", e.to_string())))?;
        Ok(Some((Adapter(Arc::new(lora)), kept.about)))
    }

    /// Over whatever is live: versions are never lost, and a round is an hour of work. Who moved the
    /// alias meanwhile moves it back in one call.
    fn publish(
        &self,
        policy: &Adapter,
        round: &Round,
        practised: &[usize],
    ) -> Result<u64, journal::Interrupted> {
        loop {
            let alias = self.cx.store().aliases().get(self.alias.as_str());
            let live = alias
                .map_err(|e| self.reason.stop(e.into()))?
                .and_then(|a| a.live);
            let before = self.published(live, round.round);
            if let Some(number) = before.map_err(|e| self.reason.stop(e.into()))? {
                return Ok(number);
            }
            let lineage = self.lineage(round, practised)?;
            match self.registry.publish(self.alias, live, &policy.0, lineage) {
                Ok(version) => return Ok(version.number),
                Err(adapters::Error::Store(store::Error::Conflict { .. })) => self.check()?,
                Err(error) => {
                    return Err(self
                        .reason
                        .stop(JobFailure::new("publish", error.to_string())));
                }
            }
        }
    }
}
