//! The registry: it resolves names to adapters and moves aliases.

use super::cache::{Cache, Loaded};
use super::lineage::Lineage;
use super::routers::Routers;
use super::{AliasName, Error, Result, Routes};
use crate::store::{
    self, Alias, BlobGuard, Expected, NewVersion, Page, Record, Replaced, Store, Version,
};
use autodidact_engine::lora::peft::{self, PeftFiles};
use autodidact_engine::{Lora, ModelConfig};
use std::path::Path;
use std::sync::Arc;

/// Number of unused adapters that stay in memory.
const KEEP_LOADED: usize = 8;

/// Least number of hex digits that name a version by its digest.
const MIN_DIGEST_DIGITS: usize = 8;

pub struct Registry {
    pub(super) store: Store,
    pub(super) model: ModelConfig,
    base_id: String,
    base_digest: String,
    pub(super) cache: Cache,
    pub(super) routers: Routers,
}

/// The documents that a version learned.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    /// Ids of the learned documents.
    pub documents: Vec<String>,
    /// Earlier documents whose place they take.
    pub replaced: Vec<Replaced>,
}

/// The adapter behind a request's `model`. The request keeps it even if the alias moves meanwhile.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The name as the request wrote it.
    pub name: String,
    /// Alias and version number; `None` for the base.
    pub version: Option<(AliasName, u64)>,
    pub adapter: Option<Arc<Loaded>>,
    /// Set if the version answers with several adapters; `adapter` is then the newest of them.
    pub routes: Option<Routes>,
}

impl Registry {
    /// `base_id` is the name of the base model. It resolves to no adapter, and no alias may have this name.
    /// `base_digest` is the digest of its weights. A version made for other weights is refused.
    pub fn new(
        store: Store,
        model: ModelConfig,
        base_id: impl Into<String>,
        base_digest: impl Into<String>,
    ) -> Self {
        Registry {
            store,
            model,
            base_id: base_id.into(),
            base_digest: base_digest.into(),
            cache: Cache::new(KEEP_LOADED),
            routers: Routers::default(),
        }
    }

    /// Resolves the base's id, `alias`, `alias@7`, or `alias@sha256:` with at least eight digits.
    pub fn resolve(&self, model: &str) -> Result<Resolved> {
        if model == self.base_id {
            return Ok(Resolved {
                name: model.into(),
                version: None,
                adapter: None,
                routes: None,
            });
        }
        let unknown = || Error::Unknown {
            model: model.chars().take(200).collect(),
        };
        let (alias, version) = match model.split_once('@') {
            None => (model, None),
            Some((alias, version)) => (alias, Some(version)),
        };
        let alias = AliasName::parse(alias).map_err(|_| unknown())?;
        let aliases = self.store.aliases();
        let version = match version {
            None => aliases.live_version(alias.as_str())?,
            Some(text) if text.starts_with("sha256:") => self.by_digest(&alias, text, model)?,
            Some(text) => match version_number(text) {
                Some(number) => aliases.version(alias.as_str(), number)?,
                None => None,
            },
        };
        let version = version.ok_or_else(unknown)?;
        let adapter = match self.load_version(&version) {
            Ok(adapter) => adapter,
            // The version was deleted between the look-up and the reading of its bytes.
            Err(_) if aliases.version(alias.as_str(), version.number)?.is_none() => {
                return Err(unknown());
            }
            Err(error) => return Err(error),
        };
        Ok(Resolved {
            name: model.into(),
            version: Some((alias, version.number)),
            adapter: Some(adapter),
            routes: Routes::of(&version)?,
        })
    }

    /// The adapter of one version, without its routes.
    pub fn load_number(&self, alias: &AliasName, number: u64) -> Result<Arc<Loaded>> {
        self.load_version(&self.version(alias, number)?)
    }

    /// Publishes `lora` as the next version and makes it live. Fails with a conflict unless the live version is
    /// `expected_live` (`None`: no live version).
    pub fn publish(
        &self,
        alias: &AliasName,
        expected_live: Option<u64>,
        lora: &Lora,
        lineage: &Lineage,
    ) -> Result<Version> {
        self.publish_learned(alias, expected_live, lora, lineage, Learned::default())
    }

    /// Like [`Registry::publish`], and marks the learned documents and those that they replace in the same transaction.
    /// So a job that is killed right afterwards does not learn them twice, and no replacement is half-done.
    pub fn publish_learned(
        &self,
        alias: &AliasName,
        expected_live: Option<u64>,
        lora: &Lora,
        lineage: &Lineage,
        learned: Learned,
    ) -> Result<Version> {
        let files = peft::to_files(lora, &self.base_id);
        let expected = Expected::Exactly(expected_live);
        let version = self.insert(alias, expected, &files, lineage, learned)?;
        self.cache
            .get_or_load(&version.digest, || Ok::<_, Error>(lora.clone()))?;
        Ok(version)
    }

    /// Publishes an adapter made elsewhere after checking that it fits the model. `expected`: the live version that the
    /// caller knows; `None` skips the check.
    pub fn upload(
        &self,
        alias: &AliasName,
        config_json: Vec<u8>,
        safetensors: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<Version> {
        let files = PeftFiles {
            config_json,
            safetensors,
        };
        self.check_files(&files)?;
        self.insert(
            alias,
            expected.into(),
            &files,
            &Lineage::Upload,
            Learned::default(),
        )
    }

    /// The PEFT files of a version.
    pub fn download(&self, alias: &AliasName, number: u64) -> Result<PeftFiles> {
        let version = self.version(alias, number)?;
        let blobs = self.store.blobs();
        Ok(PeftFiles {
            config_json: blobs.get(&version.config_blob)?,
            safetensors: blobs.get(&version.weights_blob)?,
        })
    }

    /// Points the alias at another of its versions.
    pub fn rollback(&self, alias: &AliasName, to: u64, expected: Option<u64>) -> Result<Alias> {
        let before = self.get(alias)?;
        self.check_base(&self.version(alias, to)?)?;
        let aliases = self.store.aliases();
        aliases.move_live(alias.as_str(), expected.into(), Some(to))?;
        let after = self.get(alias)?;
        self.retire(before.digest.as_deref(), after.digest.as_deref());
        Ok(after)
    }

    /// Deletes the alias with all learned data, and the blobs that no other alias uses.
    pub fn delete(&self, alias: &AliasName, expected: Option<u64>) -> Result<()> {
        let digests = self
            .store
            .aliases()
            .versions_by_digest(alias.as_str(), "")?;
        self.store
            .aliases()
            .delete(alias.as_str(), expected.into())?;
        for version in digests {
            self.cache.retire(&version.digest);
        }
        if let Err(error) = self.store.sweep_blobs() {
            tracing::warn!(%error, "bytes of a deleted adapter stay until the next start");
        }
        Ok(())
    }

    pub fn get(&self, alias: &AliasName) -> Result<Alias> {
        let found = self.store.aliases().get(alias.as_str())?;
        Ok(found.ok_or_else(|| store::Error::NoAlias {
            alias: alias.to_string(),
        })?)
    }

    /// The aliases, sorted by name.
    pub fn list(&self, after: Option<&str>, limit: usize) -> Result<Page<Alias>> {
        Ok(self.store.aliases().list(after, limit)?)
    }

    pub fn version(&self, alias: &AliasName, number: u64) -> Result<Version> {
        self.get(alias)?;
        let found = self.store.aliases().version(alias.as_str(), number)?;
        Ok(found.ok_or_else(|| store::Error::NoVersion {
            alias: alias.to_string(),
            number,
        })?)
    }

    /// The versions, newest first.
    pub fn versions(
        &self,
        alias: &AliasName,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Version>> {
        self.get(alias)?;
        let aliases = self.store.aliases();
        Ok(aliases.versions(alias.as_str(), after, limit)?)
    }

    /// vLLM's `load_lora_adapter`: publishes a PEFT directory from this machine's disk.
    pub fn load(&self, lora_name: &str, lora_path: &Path) -> Result<Version> {
        let alias = AliasName::parse(lora_name)?;
        let files = peft::load_dir(lora_path).map_err(|source| Error::LoadDirectory {
            path: lora_path.into(),
            source,
        })?;
        self.check_files(&files)?;
        let lineage = Lineage::Load {
            path: lora_path.into(),
        };
        match self.insert(
            &alias,
            Expected::Exactly(None),
            &files,
            &lineage,
            Learned::default(),
        ) {
            Err(Error::Store(store::Error::Conflict { .. })) => Err(Error::AlreadyLoaded {
                name: lora_name.into(),
            }),
            other => other,
        }
    }

    /// vLLM's `unload_lora_adapter`: the alias has no live version afterwards. Its versions stay, for a rollback or a
    /// request by number.
    pub fn unload(&self, lora_name: &str) -> Result<()> {
        let not_loaded = || Error::NotLoaded {
            name: lora_name.chars().take(80).collect(),
        };
        let alias = AliasName::parse(lora_name).map_err(|_| not_loaded())?;
        let aliases = self.store.aliases();
        let before = aliases.get(alias.as_str())?.ok_or_else(not_loaded)?;
        if before.live.is_none() {
            return Err(not_loaded());
        }
        aliases.move_live(alias.as_str(), Expected::Exactly(before.live), None)?;
        self.retire(before.digest.as_deref(), None);
        Ok(())
    }

    pub fn base_id(&self) -> &str {
        &self.base_id
    }

    /// Refuses the base's name as the name of an alias.
    pub fn check_name(&self, alias: &AliasName) -> Result<()> {
        if alias.as_str() == self.base_id {
            return Err(Error::BaseName {
                name: alias.to_string(),
            });
        }
        Ok(())
    }

    /// Refuses an alias whose live version was made for another base, or that training cannot go on from.
    pub fn check_continues(&self, alias: &AliasName) -> Result<()> {
        let Some(live) = self.store.aliases().live_version(alias.as_str())? else {
            return Ok(());
        };
        let loaded = self.load_version(&live)?;
        let trainable = loaded.lora.check_trainable();
        trainable.map_err(|source| Error::NotTrainable {
            name: format!("{}@{}", live.alias, live.number),
            source,
        })
    }

    /// Writes the blobs, then the row, and moves the alias with the row.
    fn insert(
        &self,
        alias: &AliasName,
        expected: Expected,
        files: &PeftFiles,
        lineage: &Lineage,
        learned: Learned,
    ) -> Result<Version> {
        self.check_name(alias)?;
        let aliases = self.store.aliases();
        let blobs = self.store.blobs().guard();
        let new = self.new_version(&blobs, files, lineage, learned)?;
        let version = aliases.publish(alias.as_str(), expected, new)?;
        drop(blobs);
        if let Some(parent) = version.parent {
            let parent = aliases.version(alias.as_str(), parent)?;
            self.retire(
                parent.as_ref().map(|p| p.digest.as_str()),
                Some(&version.digest),
            );
        }
        Ok(version)
    }

    /// Writes the blobs of a version that is to be published.
    pub(super) fn new_version(
        &self,
        blobs: &BlobGuard<'_>,
        files: &PeftFiles,
        lineage: &Lineage,
        learned: Learned,
    ) -> Result<NewVersion> {
        Ok(NewVersion {
            digest: peft::digest(files),
            base_digest: self.base_digest.clone(),
            config_blob: blobs.put(&files.config_json)?,
            weights_blob: blobs.put(&files.safetensors)?,
            bytes: (files.config_json.len() + files.safetensors.len()) as u64,
            lineage: lineage.encode()?,
            continues_parent: lineage.continues_parent(),
            documents: learned.documents,
            replaced: learned.replaced,
        })
    }

    fn retire(&self, before: Option<&str>, after: Option<&str>) {
        if let Some(digest) = before.filter(|_| before != after) {
            self.cache.retire(digest);
        }
    }

    /// Reads an adapter from PEFT files and checks that it fits the model.
    pub fn read(&self, config_json: &[u8], safetensors: &[u8]) -> Result<Lora> {
        peft::from_files(config_json, safetensors, &self.model).map_err(Error::Files)
    }

    fn check_files(&self, files: &PeftFiles) -> Result<()> {
        self.read(&files.config_json, &files.safetensors).map(drop)
    }

    fn check_base(&self, version: &Version) -> Result<()> {
        if version.base_digest != self.base_digest {
            return Err(Error::AnotherBase {
                name: format!("{}@{}", version.alias, version.number),
                made_for: version.base_digest.clone(),
                served: self.base_digest.clone(),
            });
        }
        Ok(())
    }

    fn load_version(&self, version: &Version) -> Result<Arc<Loaded>> {
        self.check_base(version)?;
        self.cache.get_or_load(&version.digest, || {
            let blobs = self.store.blobs();
            let config = blobs.get(&version.config_blob)?;
            let weights = blobs.get(&version.weights_blob)?;
            self.read(&config, &weights)
        })
    }

    fn by_digest(&self, alias: &AliasName, text: &str, model: &str) -> Result<Option<Version>> {
        let digits = text.trim_start_matches("sha256:");
        let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        if digits.len() < MIN_DIGEST_DIGITS || !hex {
            return Ok(None);
        }
        let prefix = text.to_ascii_lowercase();
        let mut found = self
            .store
            .aliases()
            .versions_by_digest(alias.as_str(), &prefix)?;
        if found.iter().any(|v| v.digest != found[0].digest) {
            return Err(Error::Ambiguous {
                model: model.into(),
            });
        }
        found.truncate(1);
        Ok(found.pop())
    }
}

/// Parses `7`, but not `+7` or `007`, so that a version has one name only.
fn version_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text && number <= i64::MAX as u64).then_some(number)
}
