//! Errors of the store: one variant for each operation.

use super::JobState;
use std::path::PathBuf;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("data directory {path} is in use by another autodidact")]
    InUse { path: PathBuf },
    #[error("cannot lock data directory {path}: {source}")]
    Lock {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot open data directory {path}: {source}")]
    OpenDirectory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot open database {path}: {source}")]
    OpenDatabase {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("cannot bring the database to schema {version}: {source}")]
    Migrate {
        version: usize,
        #[source]
        source: rusqlite::Error,
    },
    #[error(
        "the data directory was written by a newer autodidact (schema {found}; this one knows {known})"
    )]
    Newer { found: usize, known: usize },
    #[error("cannot {what}: {source}")]
    Read {
        what: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    #[error("cannot {what}: {source}")]
    Write {
        what: &'static str,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the {kind} of {owner} cannot be read back: {reason}")]
    Unreadable {
        kind: &'static str,
        owner: String,
        reason: String,
    },
    #[error("a {kind} cannot be written: {reason}")]
    Unwritable { kind: &'static str, reason: String },
    #[error("cannot write blob {digest}: {source}")]
    WriteBlob {
        digest: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot read blob {digest}: {source}")]
    ReadBlob {
        digest: String,
        #[source]
        source: std::io::Error,
    },
    #[error("blob {digest} is damaged: its bytes have digest {found}")]
    DamagedBlob { digest: String, found: String },
    #[error("`{digest}` is not a digest of the form sha256:<64 hex digits>")]
    BadDigest { digest: String },
    #[error("cannot sweep blobs in {path}: {source}")]
    SweepBlobs {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The compare of a compare-and-swap failed.
    #[error("adapter `{alias}` is at {}, not at {}", version(*live), version(*expected))]
    Conflict {
        alias: String,
        expected: Option<u64>,
        live: Option<u64>,
    },
    #[error("there is no adapter `{alias}`")]
    NoAlias { alias: String },
    #[error("adapter `{alias}` has no version {number}")]
    NoVersion { alias: String, number: u64 },
    #[error("adapter `{alias}` has an unfinished job, {job} ({state}): cancel it first")]
    AliasBusy {
        alias: String,
        job: String,
        state: JobState,
    },
}

fn version(number: Option<u64>) -> String {
    number.map_or("no version".into(), |n| format!("version {n}"))
}
