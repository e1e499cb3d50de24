//! What `/ingest` understands: JSON, NDJSON, Markdown and plain text, read into one checked request.
//!
//! Everything is checked before anything is stored. A refusal names the field, and in NDJSON the line.

use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::{from_value, json, media_type, unsupported};
use crate::learn::options::gate::GateOptions;
use crate::learn::options::self_edit::SelfEditOptions;
use crate::learn::options::training::TrainingOptions;
use crate::learn::options::update::IngestOptions;
use crate::question::Question;
use crate::store::NewDocument;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

const MEDIA_TYPES: &str = "application/json, application/x-ndjson, text/plain or text/markdown";
/// Titles go into every prompt and training sequence of their document.
const LONGEST_TITLE: usize = 300;
/// Each is asked several times for every training of every later document.
const MOST_QUESTIONS: usize = 100;

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IngestQuery {
    /// The adapter to teach, where the body is not JSON
    pub adapter: Option<String>,
    /// The title of a plain text; of Markdown it is the first heading unless given
    pub title: Option<String>,
    /// Wait so long (`500ms`, `30s`, `2m`; ten minutes at most) for the job's end
    pub wait: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IngestRequest {
    /// The adapter to teach; made if there is none
    adapter: String,
    documents: Vec<DocumentInput>,
    #[schema(value_type = Option<SelfEditOptions>)]
    self_edit: Option<Value>,
    #[schema(value_type = Option<TrainingOptions>)]
    training: Option<Value>,
    #[schema(value_type = Option<GateOptions>)]
    gate: Option<Value>,
    /// Makes the whole update repeatable
    seed: Option<u64>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentInput {
    title: String,
    text: String,
    /// Questions with their answers, to prove that it was learned; the model writes its own without
    #[serde(default)]
    questions: Vec<Question>,
    /// Yours; kept and shown
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

/// A request fit to be stored.
pub struct Ingest {
    pub alias: AliasName,
    pub documents: Vec<NewDocument>,
    /// `self_edit`, `training`, `gate`, `seed`: those that were given, as they were given.
    pub options: Map<String, Value>,
}

/// Reads the body by its content type.
pub fn read(
    headers: &HeaderMap,
    query: &IngestQuery,
    body: &[u8],
    most_documents: usize,
) -> Result<Ingest, Problem> {
    let kind = media_type(headers);
    let ingest = match kind.as_deref() {
        Some("application/json") => read_json(query, body)?,
        Some("application/x-ndjson" | "application/jsonl") => lines(query, body)?,
        Some("text/markdown") => {
            let text = utf8(body)?;
            let title = query.title.as_deref().or_else(|| first_heading(text));
            single(query, title, text)?
        }
        Some("text/plain") => single(query, query.title.as_deref(), utf8(body)?)?,
        other => return Err(unsupported(other, MEDIA_TYPES)),
    };
    match ingest.documents.len() {
        0 => Err(Problem::invalid("documents", "There is no document.")),
        n if n > most_documents => Err(Problem::invalid(
            "documents",
            format!("{n} documents are more than the {most_documents} that one request may bring."),
        )),
        _ => Ok(ingest),
    }
}

fn read_json(query: &IngestQuery, body: &[u8]) -> Result<Ingest, Problem> {
    let in_query = [("adapter", &query.adapter), ("title", &query.title)];
    if let Some((field, _)) = in_query.iter().find(|(_, value)| value.is_some()) {
        let detail = format!("With a JSON body {field} belongs into the body, not into the query.");
        return Err(Problem::invalid(*field, detail));
    }
    let request: IngestRequest = json(body)?;
    let alias = AliasName::parse(&request.adapter)?;
    let documents = request.documents.into_iter().enumerate();
    let documents = documents.map(|(i, d)| document(d, &format!("documents[{i}].")));
    let documents = documents.collect::<Result<_, _>>()?;
    let given = [
        ("self_edit", request.self_edit),
        ("training", request.training),
        ("gate", request.gate),
        ("seed", request.seed.map(Value::from)),
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

/// A JSON document a line; blank lines are passed over.
fn lines(query: &IngestQuery, body: &[u8]) -> Result<Ingest, Problem> {
    let alias = alias(query)?;
    if query.title.is_some() {
        let detail = "Each line of NDJSON has a title of its own.";
        return Err(Problem::invalid("title", detail));
    }
    let numbered = utf8(body)?.lines().zip(1..);
    let filled = numbered.filter(|(line, _)| !line.trim().is_empty());
    let documents = filled.map(|(line, number)| {
        let parsed = json(line.as_bytes()).and_then(|input| document(input, ""));
        parsed.map_err(|mut problem| {
            problem.detail = format!("Line {number}: {}", problem.detail);
            problem.field = problem.field.map(|field| format!("line {number}: {field}"));
            problem
        })
    });
    Ok(Ingest {
        alias,
        documents: documents.collect::<Result<_, _>>()?,
        options: Map::new(),
    })
}

fn single(query: &IngestQuery, title: Option<&str>, text: &str) -> Result<Ingest, Problem> {
    let alias = alias(query)?;
    let title = title.ok_or_else(|| {
        let mut problem = Problem::invalid(
            "title",
            "The document has no title: add ?title=…, or to Markdown a heading.",
        );
        problem.code = "missing_field";
        problem
    })?;
    let input = DocumentInput {
        title: title.to_owned(),
        text: text.to_owned(),
        questions: Vec::new(),
        metadata: None,
    };
    Ok(Ingest {
        alias,
        documents: vec![document(input, "")?],
        options: Map::new(),
    })
}

fn alias(query: &IngestQuery) -> Result<AliasName, Problem> {
    match &query.adapter {
        Some(name) => Ok(AliasName::parse(name)?),
        None => {
            let detail = "Name the adapter to teach: ?adapter=NAME.";
            let mut problem = Problem::invalid("adapter", detail);
            problem.code = "missing_field";
            Err(problem)
        }
    }
}

impl DocumentInput {
    pub fn new(title: String, text: String, questions: Vec<Question>) -> Self {
        DocumentInput {
            title,
            text,
            questions,
            metadata: None,
        }
    }
}

/// `at` is where the document stands in the request.
pub fn document(input: DocumentInput, at: &str) -> Result<NewDocument, Problem> {
    let filled = |field: String, text: &str| match text.trim().is_empty() {
        true => Err(Problem::invalid(
            format!("{at}{field}"),
            format!("{at}{field} is empty."),
        )),
        false => Ok(()),
    };
    filled("title".into(), &input.title)?;
    filled("text".into(), &input.text)?;
    if input.title.chars().count() > LONGEST_TITLE {
        let detail = format!("A title has at most {LONGEST_TITLE} characters.");
        return Err(Problem::invalid(format!("{at}title"), detail));
    }
    if input.questions.len() > MOST_QUESTIONS {
        let asked = input.questions.len();
        let detail = format!("A document has at most {MOST_QUESTIONS} questions, not {asked}.");
        return Err(Problem::invalid(format!("{at}questions"), detail));
    }
    for (i, question) in input.questions.iter().enumerate() {
        filled(format!("questions[{i}].question"), &question.question)?;
        filled(format!("questions[{i}].answer"), &question.answer)?;
    }
    Ok(NewDocument {
        metadata: Value::Object(input.metadata.unwrap_or_default()),
        questions: input.questions,
        ..NewDocument::new(input.title.trim(), input.text)
    })
}

/// Unknown names and wrong types by the types of the learning room, ranges by its own check.
fn check_options(options: &Map<String, Value>) -> Result<(), Problem> {
    fn shape<T: serde::de::DeserializeOwned>(name: &str, value: &Value) -> Result<(), Problem> {
        from_value::<T>(value.clone()).map(drop).map_err(|problem| {
            let field = match &problem.field {
                Some(inner) => format!("{name}.{inner}"),
                None => name.to_owned(),
            };
            // `method: …` within `training` is `training.method: …`.
            let within = if problem.field.is_some() { "." } else { ": " };
            let detail = format!("{name}{within}{}", problem.detail);
            Problem { detail, ..problem }.field(field)
        })
    }
    for (name, value) in options {
        // Serde would take a list for the fields in their order.
        if value.is_array() {
            let detail = format!("{name} is an object.");
            return Err(Problem::invalid(name, detail));
        }
        match name.as_str() {
            "self_edit" => shape::<SelfEditOptions>(name, value)?,
            "training" => shape::<TrainingOptions>(name, value)?,
            "gate" => shape::<GateOptions>(name, value)?,
            _ => {}
        }
    }
    let merged = IngestOptions::merged(&[&Value::Object(options.clone())]);
    merged.map_err(|error| Problem::invalid(error.field.clone(), format!("{error}.")))?;
    Ok(())
}

fn utf8(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body).map_err(|error| {
        let place = error.valid_up_to();
        Problem::bad_request(
            "not_utf8",
            format!("The body is not UTF-8 at byte {place}."),
        )
    })
}

/// The first `# heading` of any level, outside of fenced code.
fn first_heading(markdown: &str) -> Option<&str> {
    let mut fenced = false;
    for line in markdown.lines().map(str::trim) {
        if line.starts_with("```") || line.starts_with("~~~") {
            fenced = !fenced;
        }
        let hashes = line.len() - line.trim_start_matches('#').len();
        if !fenced && (1..=6).contains(&hashes) && line[hashes..].starts_with([' ', '\t']) {
            let title = line[hashes..].trim().trim_end_matches('#').trim_end();
            if !title.is_empty() {
                return Some(title);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_title_of_markdown_is_its_first_heading() {
        assert_eq!(
            first_heading("text\n\n## The *pump* ##\n# B"),
            Some("The *pump*")
        );
        assert_eq!(
            first_heading("```sh\n# a comment\n```\n# Title"),
            Some("Title")
        );
        assert_eq!(first_heading("#hashtag\n####### seven\n#\n"), None);
    }
}
