//! The settings that decide a table's measurements: model, data, seeds and options. A table's directory holds
//! measurements under one setting.

use super::compare::EvalPassage;
use crate::learn::knowledge::datasets;
use crate::learn::options::update::IngestOptions;
use serde::Serialize;
use serde_json::{Value, json};

/// How the keys of a table's measurements name passages.
#[derive(Debug, Clone, Copy)]
pub enum Keyed {
    /// By the passage's digest, with the teacher's notes of the passage: more passages or a teacher may be added to the
    /// table.
    ByPassage,
    /// By the place in the table's list of passages: another list needs another table.
    ByTable,
}

/// The settings that a reader needs to reproduce the table.
#[derive(Debug, Clone, Serialize)]
pub struct TableSettings {
    /// The base model's id.
    pub model: String,
    pub passages: usize,
    pub questions: usize,
    /// The digest of the passages with their questions (`learn::knowledge::datasets::digest`).
    pub passages_digest: String,
    pub seeds: Vec<u64>,
    pub options: IngestOptions,
    /// The models that wrote the teacher's self-edits and that judged, if there are any.
    pub helpers: Value,
    /// The digest of the teacher's self-edits, if there are any.
    pub teacher: Option<String>,
    pub more: Value,
}

impl TableSettings {
    /// The part of the settings that all measurements in a directory must share.
    ///
    /// The rows, the number of seeds and the judge are left out, so that later commands can add some. The first seed
    /// stays, because a teacher model writes from it. Keyed by passage, the data and the teacher are left out as well:
    /// the keys of the measurements name them.
    pub fn fixed(&self, keyed: Keyed) -> Value {
        let mut setting = json!(self);
        setting["seeds"] = json!(self.seeds.first());
        let forget = |of: &mut Value, fields: &[&str]| {
            let of = of.as_object_mut().expect("a JSON object");
            of.retain(|field, _| !fields.contains(&field.as_str()));
        };
        forget(&mut setting["more"], &["arms"]);
        match keyed {
            Keyed::ByTable => forget(&mut setting["helpers"], &["judge"]),
            Keyed::ByPassage => forget(
                &mut setting,
                &[
                    "passages",
                    "questions",
                    "passages_digest",
                    "helpers",
                    "teacher",
                ],
            ),
        }
        setting
    }
}

/// The digest of the teacher's self-edits of these cases, made as `datasets::digest` makes that of passages.
pub fn teacher_digest(cases: &[EvalPassage]) -> String {
    let edits: Vec<_> = cases.iter().flat_map(EvalPassage::taught).collect();
    datasets::digest(edits.iter().map(|p| (p, [].as_slice())))
}
