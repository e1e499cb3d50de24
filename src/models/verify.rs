//! Verifying a model that is here. Its digests are compared with the pinned digest, or with the record of the first
//! fetch (`<file>.sha256`, in the format of `sha256sum --check`).

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::catalogue::{Format, Model};
use super::staging::{hash_all, hex};

/// State of a model in the models directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "detail")]
pub enum State {
    /// Not in the models directory.
    Absent,
    /// Present, and every digest is right.
    Good,
    /// Present, but neither pinned nor recorded, so there is nothing to compare with.
    Unrecorded,
    /// Present, but wrong, with the reason.
    Wrong(String),
}

/// The basis of trust in a model's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The catalogue pins the digest.
    Pinned,
    /// The first download will record the digests.
    FirstUse,
    /// The first download recorded the digests.
    Recorded,
}

/// Hashes the files and compares the digests.
pub(super) fn verify(model: &Model, models_dir: &Path) -> io::Result<State> {
    let path = models_dir.join(&model.file);
    if !path.exists() {
        return Ok(State::Absent);
    }
    let expected = match &model.sha256 {
        Some(pinned) => BTreeMap::from([(model.file.clone(), pinned.clone())]),
        None => match read_record(model, models_dir)? {
            Some(record) => record,
            None => return Ok(State::Unrecorded),
        },
    };
    for (name, wanted) in &expected {
        let file = models_dir.join(name);
        if !file.is_file() {
            return Ok(State::Wrong(format!("{} is missing", file.display())));
        }
        let found = digest(&file)?;
        if found != *wanted {
            return Ok(State::Wrong(format!(
                "{} has sha256 {found}, and should have {wanted}",
                file.display()
            )));
        }
    }
    Ok(State::Good)
}

pub(super) fn trust(model: &Model, models_dir: &Path) -> Trust {
    if model.sha256.is_some() {
        Trust::Pinned
    } else if record_path(model, models_dir).exists() {
        Trust::Recorded
    } else {
        Trust::FirstUse
    }
}

/// Writes the record of the digests of a model that the catalogue does not pin.
pub(super) fn write_record(
    model: &Model,
    digests: &BTreeMap<String, String>,
    models_dir: &Path,
) -> io::Result<()> {
    let lines: String = digests
        .iter()
        .map(|(name, digest)| match model.format {
            Format::Gguf => format!("{digest}  {name}\n"),
            Format::Safetensors => format!("{digest}  {}/{name}\n", model.file),
        })
        .collect();
    fs::write(record_path(model, models_dir), lines)
}

fn read_record(model: &Model, models_dir: &Path) -> io::Result<Option<BTreeMap<String, String>>> {
    let text = match fs::read_to_string(record_path(model, models_dir)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let record = text
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(digest, name)| (name.to_owned(), digest.to_owned()))
        .collect();
    Ok(Some(record))
}

fn record_path(model: &Model, models_dir: &Path) -> PathBuf {
    models_dir.join(format!("{}.sha256", model.file))
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    hash_all(&mut File::open(path)?, &mut hash)?;
    Ok(hex(&hash.finalize()))
}
