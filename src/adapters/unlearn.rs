//! An alias without one of its documents: which versions hold the document, which documents must be learned again, and
//! the publication of the version without it.
//!
//! ```text
//! no adapter was made with others   the adapter leaves the routes, nothing is trained
//! an adapter learned several        these documents are learned again without it
//! the live version does not know it its row goes, with the versions that hold it
//! ```
//!
//! Versions that hold the document are deleted, so that no rollback brings it back. Their bytes go with them. A version
//! whose own adapter learned a newer text over it holds it no more.

use super::lineage::{LearnedDocument, Lineage, RouteRecord, RoutesRecord, UnlearnLineage};
use super::registry::Learned;
use super::{AliasName, Error, Registry, Result, Routes};
use crate::learn::inner::responders::Responder;
use crate::learn::options::strategy::Strategy;
use crate::store::{Document, DocumentState, Expected, NewVersion, Record, Removal, Version};
use autodidact_engine::lora::peft;
use autodidact_engine::{Lora, LoraConfig, Projection};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};

/// How an alias loses a document.
#[derive(Debug, Clone)]
pub struct Unlearning {
    pub document: Document,
    pub alias: AliasName,
    /// The live version that the plan starts from.
    pub live: Option<u64>,
    /// The versions that hold the document. They are deleted.
    pub versions: BTreeSet<u64>,
    /// The documents of the live version without this one, in the order of learning, each with its responder; `New` is
    /// to be learned again.
    pub remaining: Vec<(Document, Responder)>,
    /// Who answers questions about none of the remaining documents.
    pub otherwise: Responder,
    /// Whether the version without it chooses the adapter by the question.
    pub routed: bool,
    pub strategy: Strategy,
    /// Whether the live version answers by an adapter that holds the document.
    pub in_force: bool,
    /// The uploaded version that the alias began with, if any.
    pub start: Option<u64>,
    /// Who answers questions about the document now.
    pub responder: Responder,
}

impl Unlearning {
    /// What goes. `strip`: rewrites the lineages that stay.
    fn removal<'a>(&'a self, strip: &'a dyn Fn(&Value) -> Option<Value>) -> Removal<'a> {
        Removal {
            document: &self.document.id,
            versions: &self.versions,
            strip,
        }
    }

    /// The documents to be learned again.
    pub fn to_train(&self) -> Vec<&Document> {
        let again = self
            .remaining
            .iter()
            .filter(|(_, by)| *by == Responder::New);
        again.map(|(document, _)| document).collect()
    }

    fn routes(&self) -> Option<RoutesRecord> {
        let nothing = self.remaining.is_empty() && self.otherwise == Responder::Base;
        (self.routed || nothing).then(|| RoutesRecord {
            documents: (self.remaining.iter())
                .map(|(document, by)| RouteRecord {
                    document: document.id.clone(),
                    version: by.version(),
                })
                .collect(),
            otherwise: self.otherwise.version(),
        })
    }

    /// The lineage of the version without the document.
    pub fn lineage(&self) -> UnlearnLineage {
        UnlearnLineage {
            strategy: self.strategy,
            document: self.document.id.clone(),
            documents: (self.to_train().into_iter())
                .map(|d| LearnedDocument {
                    id: d.id.clone(),
                    title: d.title.clone(),
                })
                .collect(),
            routes: self.routes(),
            ..UnlearnLineage::default()
        }
    }
}

impl Registry {
    /// Plans the deletion of a document that is not being learned. Fails as [`Error::Stranded`] if a version that is
    /// not live holds it together with another document.
    pub fn plan_unlearning(&self, document: &Document) -> Result<Unlearning> {
        let alias = AliasName::parse(&document.alias)?;
        let aliases = self.store.aliases();
        let live = aliases.get(alias.as_str())?.and_then(|a| a.live);
        let history = History::read(aliases.versions_by_digest(alias.as_str(), "")?)?;
        let line = live.map_or_else(HashSet::new, |live| history.line(live));
        let learned = self.store.documents().learned(alias.as_str())?;
        let knows = |d: &Document| d.version.is_some_and(|v| line.contains(&v));
        let routes = live.and_then(|live| history.routes.get(&live));
        let mut versions = history.holders(document);
        // Under routes an adapter may go on for another document after this one was replaced.
        let answering = routes.map(|r| r.responders.versions()).unwrap_or_default();
        let shared = answering.intersection(&versions).next().copied();
        let in_force =
            shared.is_some() || (document.state == DocumentState::Learned && knows(document));
        if !in_force {
            let newer = self
                .store
                .aliases()
                .replacing(alias.as_str(), &document.id)?;
            let learned_over =
                |v: &u64| !history.routes.contains_key(v) && !history.line(*v).is_disjoint(&newer);
            versions.retain(|v| live != Some(*v) && !learned_over(v));
        }
        let start = live.and_then(|live| history.start(live));
        let by = |d: &Document| match routes {
            Some(routes) => routes.of_document(&d.id).unwrap_or(live.into()),
            None => live.into(),
        };
        let mut remaining = Vec::new();
        for other in learned {
            if other.id == document.id {
                continue;
            }
            let responder = by(&other);
            let lost = responder.version().is_some_and(|v| versions.contains(&v));
            if knows(&other) {
                remaining.push(match lost {
                    true => (other, Responder::New),
                    false => (other, responder),
                });
            } else if let Some(version) = other.version.filter(|v| versions.contains(v))
                && !history.is_kept(&other, &versions)
            {
                return Err(Error::Stranded {
                    document: document.id.clone(),
                    other: other.id,
                    version,
                });
            }
        }
        let otherwise = match routes {
            Some(routes) => routes.responders.otherwise(),
            None => live.into(),
        };
        let lost = otherwise.version().is_some_and(|v| versions.contains(&v));
        // Another deletion may have taken the live version meanwhile; then carrying out the plan is a conflict.
        let strategy = live.and_then(|live| history.lineages.get(&live)?.strategy());
        Ok(Unlearning {
            responder: routes
                .and_then(|routes| routes.of_document(&document.id))
                .unwrap_or_else(|| shared.or(live).into()),
            otherwise: match lost {
                true => start.into(),
                false => otherwise,
            },
            document: document.clone(),
            alias,
            live,
            versions,
            remaining,
            routed: routes.is_some(),
            strategy: strategy.unwrap_or_default(),
            in_force,
            start,
        })
    }

    /// Carries out a plan that trains nothing. Returns the live version afterwards. Fails with a conflict if the alias
    /// moved since the plan.
    pub fn leave(&self, plan: &Unlearning) -> Result<Option<u64>> {
        let expected = Expected::Exactly(plan.live);
        let alias = plan.alias.as_str();
        let strip = |lineage: &Value| stripped(lineage, plan);
        let removal = plan.removal(&strip);
        let gone = self.digests(plan)?;
        let live = if plan.in_force {
            let blobs = self.store.blobs().guard();
            let lineage = Lineage::Unlearn(Box::new(plan.lineage()));
            let new = match self.left(plan)? {
                Some(version) => NewVersion {
                    digest: version.digest,
                    base_digest: version.base_digest,
                    config_blob: version.config_blob,
                    weights_blob: version.weights_blob,
                    bytes: version.bytes,
                    lineage: lineage.encode()?,
                    continues_parent: true,
                    documents: Vec::new(),
                    replaced: Vec::new(),
                },
                // Nothing is left to answer with but the base. A version needs an adapter: one that changes nothing.
                None => {
                    let config = LoraConfig {
                        rank: 1,
                        alpha: 1.0,
                        targets: vec![Projection::Q],
                    };
                    let nothing = Lora::init(config, &self.model, 0);
                    let files = peft::to_files(&nothing, self.base_id());
                    self.new_version(&blobs, &files, &lineage, Learned::default())?
                }
            };
            let aliases = self.store.aliases();
            Some(
                aliases
                    .publish_without(alias, expected, new, &removal)?
                    .number,
            )
        } else {
            let aliases = self.store.aliases();
            aliases.remove_document(alias, expected, &removal)?;
            plan.live
        };
        self.free(gone);
        Ok(live)
    }

    /// Publishes the adapter that learned the documents of [`Unlearning::to_train`] again. Fails with a conflict if the
    /// alias moved since the plan.
    pub fn publish_relearned(
        &self,
        plan: &Unlearning,
        lora: &Lora,
        lineage: UnlearnLineage,
    ) -> Result<Version> {
        let strip = |lineage: &Value| stripped(lineage, plan);
        let removal = plan.removal(&strip);
        let gone = self.digests(plan)?;
        let files = peft::to_files(lora, self.base_id());
        let blobs = self.store.blobs().guard();
        let lineage = Lineage::Unlearn(Box::new(lineage));
        let new = self.new_version(&blobs, &files, &lineage, Learned::default())?;
        let (aliases, expected) = (self.store.aliases(), Expected::Exactly(plan.live));
        let version = aliases.publish_without(plan.alias.as_str(), expected, new, &removal)?;
        drop(blobs);
        self.free(gone);
        Ok(version)
    }

    /// The version whose files the version without the document takes over: the newest adapter that still answers.
    fn left(&self, plan: &Unlearning) -> Result<Option<Version>> {
        let answering = plan.remaining.iter().filter_map(|(_, by)| by.version());
        let number = answering.max().or(plan.otherwise.version());
        number.map(|n| self.version(&plan.alias, n)).transpose()
    }

    /// The digests of the versions that go.
    fn digests(&self, plan: &Unlearning) -> Result<Vec<String>> {
        let all = self
            .store
            .aliases()
            .versions_by_digest(plan.alias.as_str(), "")?;
        let gone = all
            .into_iter()
            .filter(|v| plan.versions.contains(&v.number));
        Ok(gone.map(|v| v.digest).collect())
    }

    /// Frees the memory and the bytes of adapters whose versions are gone.
    fn free(&self, digests: Vec<String>) {
        for digest in digests {
            self.cache.retire(&digest);
        }
        if let Err(error) = self.store.sweep_blobs() {
            tracing::warn!(%error, "bytes of an unlearned adapter stay until the next start");
        }
    }
}

/// All versions of an alias, read.
struct History {
    lineages: HashMap<u64, Lineage>,
    /// The routes of the versions that have some.
    routes: HashMap<u64, Routes>,
    parents: HashMap<u64, u64>,
}

impl History {
    fn read(versions: Vec<Version>) -> Result<History> {
        let mut history = History {
            lineages: HashMap::new(),
            routes: HashMap::new(),
            parents: HashMap::new(),
        };
        for version in versions {
            if let Some(parent) = version.parent {
                history.parents.insert(version.number, parent);
            }
            if let Some(routes) = Routes::of(&version)? {
                history.routes.insert(version.number, routes);
            }
            history
                .lineages
                .insert(version.number, Lineage::of(&version)?);
        }
        Ok(history)
    }

    /// The version and the versions that it continues.
    fn line(&self, number: u64) -> HashSet<u64> {
        let mut line = HashSet::from([number]);
        let mut at = number;
        while self
            .lineages
            .get(&at)
            .is_some_and(Lineage::continues_parent)
            && let Some(parent) = self.parents.get(&at)
            && line.insert(*parent)
        {
            at = *parent;
        }
        line
    }

    /// The version at the beginning of the line, unless documents were learned from the base.
    fn start(&self, number: u64) -> Option<u64> {
        let first = self.line(number).into_iter().min()?;
        let lineage = self.lineages.get(&first)?;
        (!lineage.continues_parent()).then_some(first)
    }

    /// Whether a version that stays still knows a document when the versions `gone` are deleted.
    fn is_kept(&self, document: &Document, gone: &BTreeSet<u64>) -> bool {
        let mut left = self.lineages.keys().filter(|v| !gone.contains(v));
        left.any(|v| match self.routes.get(v) {
            Some(routes) => {
                let by = routes.of_document(&document.id).and_then(|by| by.version());
                by.is_some_and(|by| !gone.contains(&by))
            }
            None => document
                .version
                .is_some_and(|of| self.line(*v).contains(&of)),
        })
    }

    /// The versions whose adapters have learned the document.
    fn holders(&self, document: &Document) -> BTreeSet<u64> {
        let mut holders = BTreeSet::new();
        for (number, lineage) in &self.lineages {
            match self.routes.get(number) {
                Some(routes) => {
                    holders.extend(routes.of_document(&document.id).and_then(|by| by.version()))
                }
                None if lineage.continues_parent() => {
                    let line = self.line(*number);
                    let held = document.version.is_some_and(|v| line.contains(&v));
                    holders.extend(held.then_some(*number));
                }
                None => {}
            }
        }
        holders.extend(document.version.filter(|v| self.lineages.contains_key(v)));
        holders
    }
}

/// The lineage without the document and without routes to versions that go; `None` if nothing changes.
fn stripped(lineage: &Value, plan: &Unlearning) -> Option<Value> {
    let id = &plan.document.id;
    let mut lineage = Lineage::decode(id, lineage).ok()?;
    let before = lineage.clone();
    let gone = |number: &Option<u64>| number.is_some_and(|n| plan.versions.contains(&n));
    let routes = match &mut lineage {
        Lineage::Ingest(ingest) => {
            ingest.documents.retain(|d| d.id != *id);
            ingest.replaced.take_if(|d| d.id == *id);
            &mut ingest.routes
        }
        Lineage::Unlearn(unlearn) => {
            unlearn.documents.retain(|d| d.id != *id);
            &mut unlearn.routes
        }
        _ => return None,
    };
    if let Some(routes) = routes {
        routes
            .documents
            .retain(|r| r.document != *id && !gone(&r.version));
        routes.otherwise.take_if(|n| plan.versions.contains(n));
    }
    (lineage != before).then(|| lineage.encode().ok()).flatten()
}
