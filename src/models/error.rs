//! Errors of fetching a model. Each message says what to do.

use std::{io, path::PathBuf};

use super::catalogue::Model;

/// An unusable catalogue file.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("cannot read the model catalogue {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}, line {line}: {message}", path.display())]
    Parse {
        path: PathBuf,
        line: usize,
        message: String,
    },
    #[error("{}, model `{name}`: {message}", path.display())]
    Entry {
        path: PathBuf,
        name: String,
        message: String,
    },
}

/// A model that could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(
        "there is no model `{name}`: choose one of {known}, or give the path of a GGUF file or of a Hugging Face directory"
    )]
    Unknown { name: String, known: String },
    #[error("there is no model at {}: give the path of a GGUF file or of a Hugging Face directory", .0.display())]
    NoSuchPath(PathBuf),
    #[error(
        "could not fetch the model `{name}` ({failures}); put that right and run `autodidact model fetch {name}`, \
         or place it yourself at {}", to.display()
    )]
    NoSource {
        name: String,
        failures: String,
        to: PathBuf,
    },
    #[error(
        "no space left for the model `{name}`, which needs {megabytes} MB in {}: free some, or choose another \
         place with --models-dir (AUTODIDACT_MODELS)", dir.display()
    )]
    DiskFull {
        name: String,
        megabytes: u64,
        dir: PathBuf,
    },
    #[error("cannot use {} for models: {source}", path.display())]
    Disk { path: PathBuf, source: io::Error },
}

/// The failure of one source.
#[derive(Debug)]
pub(super) enum DeliveryError {
    /// The source failed: the next source is tried.
    Source(String),
    /// This machine's disk failed: other sources would fail too.
    Disk(PathBuf, io::Error),
}

impl DeliveryError {
    /// The error for a failed disk while fetching `model`.
    pub(super) fn disk(path: PathBuf, source: io::Error, model: &Model) -> FetchError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FetchError::DiskFull {
                name: model.name.clone(),
                megabytes: model.size.div_ceil(1_000_000),
                dir: path.parent().unwrap_or(&path).to_owned(),
            },
            _ => FetchError::Disk { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Catalogue;

    #[test]
    fn a_full_disk_is_told_with_the_size_and_the_place() {
        let catalogue = Catalogue::load(None).unwrap();
        let model = catalogue.get("smollm2-135m-instruct").unwrap();
        let path = PathBuf::from("/models/x.gguf");
        let full =
            DeliveryError::disk(path.clone(), io::ErrorKind::StorageFull.into(), model).to_string();
        assert!(full.contains("needs 99 MB in /models"), "{full}");
        let denied =
            DeliveryError::disk(path, io::ErrorKind::PermissionDenied.into(), model).to_string();
        assert!(denied.contains("/models/x.gguf"), "{denied}");
    }
}
