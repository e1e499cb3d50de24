//! Errors of the registry.

use super::InvalidName;
use crate::store;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("`{name}` is the name of the base model: choose another for the adapter")]
    BaseName { name: String },
    #[error("there is no model `{model}`")]
    Unknown { model: String },
    #[error("`{model}` fits more than one version: give more digits of the digest")]
    Ambiguous { model: String },
    /// The adapter was trained against other weights, so on these weights it would answer nonsense.
    #[error(
        "adapter `{name}` was made for the base model {}, but this server runs {}",
        short(.made_for), short(.served)
    )]
    AnotherBase {
        name: String,
        made_for: String,
        served: String,
    },
    /// The adapter is served, but training cannot go on from it.
    #[error("adapter `{name}` cannot be trained further: {source}")]
    NotTrainable {
        name: String,
        #[source]
        source: autodidact_engine::Error,
    },
    #[error("the files are not an adapter for this model: {0}")]
    Files(#[source] autodidact_engine::Error),
    #[error("cannot load the adapter from {path}: {source}")]
    LoadDirectory {
        path: std::path::PathBuf,
        #[source]
        source: autodidact_engine::Error,
    },
    /// A version that is not live holds the document together with another one.
    #[error(
        "document {document} cannot be deleted alone: version {version}, which is not live, holds it together with \
         document {other}. Delete that document first, or roll back to that version"
    )]
    Stranded {
        document: String,
        other: String,
        version: u64,
    },
    #[error("adapter `{name}` is already loaded")]
    AlreadyLoaded { name: String },
    #[error("adapter `{name}` is not loaded")]
    NotLoaded { name: String },
    /// Includes [`store::Error::Conflict`], `NoAlias`, `NoVersion` and `AliasBusy`.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The first digits of a digest, enough to tell two digests apart.
fn short(digest: &str) -> &str {
    digest.get(.."sha256:".len() + 12).unwrap_or(digest)
}
