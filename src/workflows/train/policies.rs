//! The policies of a training job. Within a round a policy is kept as blobs of the job; after the round it is a
//! version of the job's alias.

use super::run::TrainInput;
use crate::adapters::lineage::{HeldOutRecord, RewardRecord, TrainLineage};
use crate::adapters::{self, AliasName, Lineage, Registry};
use crate::jobs::JobFailure;
use crate::learn::outer::PolicyStore;
use crate::learn::outer::report::{PolicyUpdate, Round};
use crate::learn::ports::journal::{Interrupted, Journal, recalled, step};
use crate::learn::ports::model::Adapter;
use crate::store;
use crate::workflows::journal::JobJournal;
use autodidact_engine::lora::peft;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;

/// The policies of one training job.
pub(super) struct JobPolicies<'a> {
    pub journal: JobJournal<'a>,
    pub alias: &'a AliasName,
    pub registry: &'a Registry,
    pub input: &'a TrainInput,
    /// Keys of the contexts.
    pub keys: Vec<String>,
}

impl JobPolicies<'_> {
    /// The version that the first run of this job started from. A resumed job uses the same one, even if the alias has
    /// moved.
    pub fn started(&self) -> Result<Option<u64>, Interrupted> {
        step(&self.journal, "start", || {
            let live = self.journal.cx.store().aliases().get(self.alias.as_str());
            let live = live.map_err(|e| self.journal.interrupt(e))?;
            Ok(live.and_then(|a| a.live))
        })
    }

    /// Keys of all contexts that a version's policy practised on, in any job.
    pub fn practised_before(&self, version: Option<u64>) -> adapters::Result<HashSet<String>> {
        let aliases = self.journal.cx.store().aliases();
        let version = match version {
            Some(number) => aliases.version(self.alias.as_str(), number)?,
            None => None,
        };
        Ok(match version.as_ref().map(Lineage::of).transpose()? {
            Some(Lineage::Train(lineage)) => lineage.practised.into_iter().collect(),
            _ => HashSet::new(),
        })
    }

    /// The version of this round, if an earlier run published it and died before it stored the step.
    fn published(&self, live: Option<u64>, round: usize) -> adapters::Result<Option<u64>> {
        let Some(live) = live else { return Ok(None) };
        let aliases = self.journal.cx.store().aliases();
        let version = aliases.version(self.alias.as_str(), live)?;
        let Some(version) = version else {
            return Ok(None);
        };
        let ours = match Lineage::of(&version)? {
            Lineage::Train(lineage) => {
                lineage.job == self.journal.cx.id() && lineage.round == round
            }
            _ => false,
        };
        Ok(ours.then_some(version.number))
    }

    fn lineage(&self, round: &Round, practised: &[usize]) -> Result<Lineage, Interrupted> {
        let before = self.practised_before(self.started()?);
        let mut keys = before.map_err(|e| self.journal.interrupt(e))?;
        keys.extend(practised.iter().map(|i| self.keys[*i].clone()));
        let mut keys: Vec<String> = keys.into_iter().collect();
        keys.sort();
        let held_out = round.held_out.as_ref();
        Ok(Lineage::Train(Box::new(TrainLineage {
            job: self.journal.cx.id().to_owned(),
            domain: self.input.domain,
            round: round.round,
            reward: RewardRecord {
                kind: round.reward_kind,
                baseline: round.baseline,
                mean: round.reward,
                best: round.best_reward,
            },
            kept: round.kept.len(),
            update: round.policy.clone(),
            score: held_out.map(|h| h.gain.mean),
            held_out: held_out.map(|h| HeldOutRecord {
                gain: h.gain,
                accuracy_before: h.accuracy_before,
                accuracy_after: h.accuracy_after,
                contexts: h.contexts,
            }),
            contexts_digest: self.input.contexts_digest.clone(),
            practised: keys,
        })))
    }
}

/// A trained policy before its publishing: the digests of its file blobs. The blobs stay while this unfinished job
/// names them.
#[derive(Serialize, Deserialize)]
struct StoredPolicy {
    config_blob: String,
    weights_blob: String,
    about: PolicyUpdate,
}

impl PolicyStore for JobPolicies<'_> {
    fn save(&self, key: &str, policy: &Adapter, about: &PolicyUpdate) -> Result<(), Interrupted> {
        let files = peft::to_files(&policy.0, self.registry.base_id());
        let blobs = self.journal.cx.store().blobs().guard();
        let put = |bytes: &[u8]| blobs.put(bytes).map_err(|e| self.journal.interrupt(e));
        let kept = json!(StoredPolicy {
            config_blob: put(&files.config_json)?,
            weights_blob: put(&files.safetensors)?,
            about: about.clone(),
        });
        self.journal.remember(key, &kept)
    }

    fn load(&self, key: &str) -> Result<Option<(Adapter, PolicyUpdate)>, Interrupted> {
        let Some(kept) = recalled::<StoredPolicy>(&self.journal, key)? else {
            return Ok(None);
        };
        let blobs = self.journal.cx.store().blobs();
        let get = |digest: &str| blobs.get(digest).map_err(|e| self.journal.interrupt(e));
        let (config, weights) = (get(&kept.config_blob)?, get(&kept.weights_blob)?);
        let lora = self.registry.read(&config, &weights);
        let lora = lora.map_err(|e| self.journal.interrupt(e))?;
        Ok(Some((Adapter(Arc::new(lora)), kept.about)))
    }

    /// Publishes over any live version, because a round is an hour of work. No version is lost: a client that moved
    /// the alias meanwhile can roll back in one call.
    fn publish(
        &self,
        policy: &Adapter,
        round: &Round,
        practised: &[usize],
    ) -> Result<u64, Interrupted> {
        loop {
            let alias = self.journal.cx.store().aliases().get(self.alias.as_str());
            let live = alias
                .map_err(|e| self.journal.interrupt(e))?
                .and_then(|a| a.live);
            let before = self.published(live, round.round);
            if let Some(number) = before.map_err(|e| self.journal.interrupt(e))? {
                return Ok(number);
            }
            let lineage = self.lineage(round, practised)?;
            match self.registry.publish(self.alias, live, &policy.0, &lineage) {
                Ok(version) => return Ok(version.number),
                Err(adapters::Error::Store(store::Error::Conflict { .. })) => {
                    self.journal.check()?
                }
                Err(error) => {
                    let failure = JobFailure::new("publish", error.to_string());
                    return Err(self.journal.interrupt(failure));
                }
            }
        }
    }
}
