//! What decides a table's measurements: model, data, seeds and options. A table's directory holds measurements
//! under one setting.

use super::compare::EvalPassage;
use crate::learn::knowledge::datasets;
use crate::learn::options::update::IngestOptions;
use serde::Serialize;
use serde_json::{Value, json};

/// What a table's measurements are remembered by.
#[derive(Debug, Clone, Copy)]
pub enum Keyed {
    /// The passage that they are of, and the teacher's notes of it: a table may grow by passages, and by a teacher's.
    ByPassage,
    /// Places in the table's list of passages: another list is another table.
    ByTable,
}

/// What a reader needs to make the table again.
#[derive(Debug, Clone, Serialize)]
pub struct TableSettings {
    /// The base model's id.
    pub model: String,
    pub passages: usize,
    pub questions: usize,
    /// Of the passages with their questions, as `learn::knowledge::datasets::digest` makes it.
    pub passages_digest: String,
    pub seeds: Vec<u64>,
    pub options: IngestOptions,
    /// Who wrote the teacher's self-edits and who judged, where models did.
    pub helpers: Value,
    /// Digest of the teacher's self-edits, where there are any.
    pub teacher: Option<String>,
    pub more: Value,
}

impl TableSettings {
    /// What a measurement may be remembered under: all but how many rows and seeds are asked for, and who judges, so
    /// that more of them add to what was measured. The first seed stays: a teacher model writes from it.
    /// Steps of a passage alone name it, and the teacher's notes where they are of these: neither need stay.
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

/// Names the teacher's self-edits of these cases, as `datasets::digest` names passages.
pub fn teacher_digest(cases: &[EvalPassage]) -> String {
    let edits: Vec<_> = cases.iter().flat_map(EvalPassage::taught).collect();
    datasets::digest(edits.iter().map(|p| (p, [].as_slice())))
}
