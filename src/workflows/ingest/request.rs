//! The request body of `/ingest`, with the checks that need no state of the server.

use crate::adapters::AliasName;
use crate::learn::options::gate::GateOptions;
use crate::learn::options::self_edit::SelfEditOptions;
use crate::learn::options::training::TrainingOptions;
use crate::learn::options::update::IngestOptions;
use crate::question::Question;
use crate::store::NewDocument;
use crate::text::words::borders;
use crate::workflows::fields::{self, filled};
use crate::workflows::refusal::Refusal;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Most characters of a title. Every prompt and training sequence of the document contains it.
const LONGEST_TITLE: usize = 300;
/// Most characters of an external id.
pub const LONGEST_EXTERNAL_ID: usize = 200;
/// Most questions of a document. Each is asked several times for every training of every later document.
const MOST_QUESTIONS: usize = 100;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IngestRequest {
    /// The adapter to teach; a new one is made if it does not exist
    adapter: String,
    documents: Vec<DocumentInput>,
    #[schema(value_type = Option<SelfEditOptions>)]
    self_edit: Option<Value>,
    #[schema(value_type = Option<TrainingOptions>)]
    training: Option<Value>,
    #[schema(value_type = Option<GateOptions>)]
    gate: Option<Value>,
    /// Makes the update repeatable
    seed: Option<u64>,
    /// Learn documents again that are known already. Default false; a document may say otherwise for itself
    again: Option<bool>,
    /// Whether a newer text of a document takes the place of the earlier one. Default true; false keeps both. A
    /// document may say otherwise for itself
    replace: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentInput {
    title: String,
    text: String,
    /// Questions with their answers, to check the learning. Without any the model writes its own
    #[serde(default)]
    questions: Vec<Question>,
    /// Your own data, stored with the document and shown again
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Your own name of the document. A later document of the adapter with the same name replaces this one. 1 to 200
    /// characters
    #[serde(default)]
    #[schema(min_length = 1, max_length = 200)]
    external_id: Option<String>,
    /// Learn the document even if it is known already
    #[serde(default)]
    again: Option<bool>,
    /// false keeps an earlier text of the document beside this one
    #[serde(default)]
    replace: Option<bool>,
}

/// A request with valid fields.
pub struct Ingest {
    pub alias: AliasName,
    pub documents: Vec<NewDocument>,
    /// The given options among `self_edit`, `training`, `gate` and `seed`, as written.
    pub options: Map<String, Value>,
}

impl IngestRequest {
    pub fn check(self) -> Result<Ingest, Refusal> {
        let alias = AliasName::parse(&self.adapter)?;
        let documents = self.documents.into_iter().enumerate();
        let (again, replace) = (self.again, self.replace);
        let documents = documents.map(|(i, d)| {
            let document = d.or_again(again).or_replace(replace);
            document.check(&format!("documents[{i}]."))
        });
        let documents = documents.collect::<Result<_, _>>()?;
        let given = [
            ("self_edit", self.self_edit),
            ("training", self.training),
            ("gate", self.gate),
            ("seed", self.seed.map(Value::from)),
        ];
        let given = given
            .into_iter()
            .filter_map(|(k, v)| Some((k.to_owned(), v?)));
        let options: Map<String, Value> = given.filter(|(_, v)| !v.is_null()).collect();
        check_options(&options)?;
        Ok(Ingest {
            alias,
            documents,
            options,
        })
    }
}

impl Ingest {
    /// A request with the server's own settings.
    pub fn plain(alias: AliasName, documents: Vec<NewDocument>) -> Self {
        Ingest {
            alias,
            documents,
            options: Map::new(),
        }
    }
}

impl DocumentInput {
    pub fn new(title: impl Into<String>, text: impl Into<String>) -> Self {
        DocumentInput {
            title: title.into(),
            text: text.into(),
            questions: Vec::new(),
            metadata: None,
            external_id: None,
            again: None,
            replace: None,
        }
    }

    pub fn with_questions(mut self, questions: Vec<Question>) -> Self {
        self.questions = questions;
        self
    }

    /// Adds metadata, such as the front matter of Markdown.
    pub fn with_metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.metadata = Some(metadata);
        self
    }

    pub fn with_external_id(mut self, external_id: Option<String>) -> Self {
        self.external_id = external_id;
        self
    }

    /// Whether it is learned again, unless it says so itself.
    pub fn or_again(mut self, again: Option<bool>) -> Self {
        self.again = self.again.or(again);
        self
    }

    /// Whether it replaces an earlier text, unless it says so itself.
    pub fn or_replace(mut self, replace: Option<bool>) -> Self {
        self.replace = self.replace.or(replace);
        self
    }

    /// Checks the document. `at`: the prefix of its field names in refusals, such as `documents[0].`.
    pub fn check(self, at: &str) -> Result<NewDocument, Refusal> {
        filled(&format!("{at}title"), &self.title)?;
        filled(&format!("{at}text"), &self.text)?;
        if self.title.chars().count() > LONGEST_TITLE {
            let detail = format!("A title has at most {LONGEST_TITLE} characters.");
            return Err(Refusal::invalid(format!("{at}title"), detail));
        }
        if self.questions.len() > MOST_QUESTIONS {
            let asked = self.questions.len();
            let detail = format!("A document has at most {MOST_QUESTIONS} questions, not {asked}.");
            return Err(Refusal::invalid(format!("{at}questions"), detail));
        }
        for (i, question) in self.questions.iter().enumerate() {
            filled(&format!("{at}questions[{i}].question"), &question.question)?;
            filled(&format!("{at}questions[{i}].answer"), &question.answer)?;
        }
        if let Some(external_id) = &self.external_id {
            check_external_id(&format!("{at}external_id"), external_id)?;
        }
        Ok(NewDocument {
            external_id: self.external_id,
            again: self.again.unwrap_or(false),
            replace: self.replace.unwrap_or(true),
            metadata: Value::Object(self.metadata.unwrap_or_default()),
            questions: self.questions,
            ..NewDocument::new(self.title.trim(), self.text)
        })
    }
}

/// A title that nobody typed, such as a heading: one that is too long is cut after a word.
pub fn shortened(title: &str) -> String {
    let most = LONGEST_TITLE - 1;
    let place = |characters| title.char_indices().nth(characters).map(|(at, _)| at);
    if place(LONGEST_TITLE).is_none() {
        return title.to_owned();
    }
    let end = place(most).unwrap_or(title.len());
    // With what follows, so that the last word that fits is told from the beginning of a longer one.
    let seen = &title[..place(2 * LONGEST_TITLE).unwrap_or(title.len())];
    let ends = borders(seen).into_iter().filter(|at| *at <= end);
    let kept = match ends.max() {
        Some(at) if at > 0 => &title[..at],
        _ => &title[..end],
    };
    format!("{}…", kept.trim_end())
}

/// Refuses an external id that is blank, too long, or could not be told from another one.
fn check_external_id(field: &str, id: &str) -> Result<(), Refusal> {
    filled(field, id)?;
    let length = id.chars().count();
    let detail = if length > LONGEST_EXTERNAL_ID {
        format!("An external id has at most {LONGEST_EXTERNAL_ID} characters, not {length}.")
    } else if id.trim() != id || id.chars().any(char::is_control) {
        "An external id has no control characters, and no white space around it.".to_owned()
    } else {
        return Ok(());
    };
    Err(Refusal::invalid(field, detail))
}

/// Refuses unknown names, wrong types and values out of range.
fn check_options(options: &Map<String, Value>) -> Result<(), Refusal> {
    for (name, value) in options {
        // Serde would accept a list as the fields in order.
        if value.is_array() {
            return Err(Refusal::invalid(name, format!("{name} is an object.")));
        }
        let value = value.clone();
        match name.as_str() {
            "self_edit" => fields::at::<SelfEditOptions>(name, value).map(drop)?,
            "training" => fields::at::<TrainingOptions>(name, value).map(drop)?,
            "gate" => fields::at::<GateOptions>(name, value).map(drop)?,
            _ => {}
        }
    }
    IngestOptions::merged(&[&Value::Object(options.clone())])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_title_is_cut_after_a_word_of_any_script() {
        let long = format!("{} lighthouse keepers", "x".repeat(290));
        assert_eq!(shortened(&long), format!("{}…", "x".repeat(290)));
        let fits = format!("{} keepers", "x".repeat(292));
        assert_eq!(shortened(&fits), fits);
        let chinese = shortened(&"番茄每天需要六小时的阳光。".repeat(30));
        let length = chinese.chars().count();
        assert!(
            (290..=300).contains(&length) && chinese.ends_with('…'),
            "{chinese}"
        );
        // One word alone is cut where it must be.
        assert_eq!(shortened(&"x".repeat(5000)).chars().count(), 300);
    }
}
