//! The body of `/ingest` in any of its content types: JSON, NDJSON, one document of a format that is read, or a form
//! with files.

use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::{charset, media_type, unreadable, unsupported};
use crate::http::common::form::{self, Field};
use crate::reading::{self, Format};
use crate::store::{NewDocument, digest};
use crate::text::characters::is_blank;
use crate::workflows::fields;
use crate::workflows::ingest::request::{DocumentInput, Ingest, IngestRequest, shortened};
use crate::workflows::refusal::Refusal;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IngestQuery {
    /// The adapter to teach, if the body is not JSON
    pub adapter: Option<String>,
    /// The document's title. Without it a document has the title that it names itself: that of front matter or
    /// properties, else its first heading
    pub title: Option<String>,
    /// Your own name of the document, if the body is text. A later document with the same name replaces it
    pub external_id: Option<String>,
    /// Learn documents again that are known already, if the body is not JSON
    pub again: Option<bool>,
    /// false keeps an earlier text of a document beside this one, if the body is not JSON
    pub replace: Option<bool>,
    /// Time to wait for the job's end (`500ms`, `30s`, `2m`; ten minutes at most)
    pub wait: Option<String>,
}

/// What decides the work beside the body of JSON, text or a file. Of a form it is everything, because the same form is
/// sent in other bytes each time.
pub fn about(query: &IngestQuery, form: Option<&[Field]>) -> Value {
    let field = |f: &Field| json!([f.name, f.file_name, f.kind, f.charset, digest(&f.bytes)]);
    let form: Option<Vec<Value>> = form.map(|form| form.iter().map(field).collect());
    json!([
        query.adapter,
        query.title,
        query.external_id,
        query.again,
        query.replace,
        form
    ])
}

/// Reads the body by its content type. A refusal names the wrong field, and in NDJSON the line.
pub fn read(headers: &HeaderMap, query: &IngestQuery, body: &[u8]) -> Result<Ingest, Problem> {
    let kind = media_type(headers);
    let charset = charset(headers);
    match kind.as_deref() {
        Some("application/json") => json(query, body),
        Some("application/x-ndjson" | "application/jsonl") => {
            let text = reading::text(body, charset.as_deref()).map_err(unreadable)?;
            Ok(lines(query, &text)?)
        }
        kind => {
            let format = kind.and_then(Format::of_media_type);
            let format = format.ok_or_else(|| unsupported(kind, &media_types()))?;
            let alias = alias(query.adapter.as_deref())?;
            let title = query.title.as_deref();
            let document = document(format, charset.as_deref(), body, title, None)?;
            let document = document.with_external_id(query.external_id.clone());
            let document = document.or_again(query.again).or_replace(query.replace);
            Ok(Ingest::plain(alias, vec![document.check("")?]))
        }
    }
}

/// Reads a form: files in fields of the name `file`, and `adapter` and `title` unless the query has them.
pub fn read_form(query: &IngestQuery, form: &[Field]) -> Result<Ingest, Problem> {
    let mut adapter = query.adapter.clone();
    let mut title = query.title.clone();
    let mut files = Vec::new();
    for field in form {
        let given = match field.name.as_str() {
            "file" => {
                files.push(field);
                continue;
            }
            "adapter" => &mut adapter,
            "title" => &mut title,
            name => {
                let detail =
                    format!("The form has a field '{name}'; send file, adapter and title.");
                return Err(Refusal::invalid(name, detail).into());
            }
        };
        if given.replace(field.text()?.to_owned()).is_some() {
            let detail = format!("{} is given twice.", field.name);
            return Err(Refusal::invalid(&field.name, detail).into());
        }
    }
    let alias = alias(adapter.as_deref())?;
    if title.is_some() && files.len() > 1 {
        let detail = "A title belongs to one file; several have titles of their own.";
        return Err(Refusal::invalid("title", detail).into());
    }
    if query.external_id.is_some() && files.len() > 1 {
        let detail = "An external_id belongs to one file.";
        return Err(Refusal::invalid("external_id", detail).into());
    }
    let documents = files.into_iter().enumerate().map(|(nth, file)| {
        let read = uploaded(file, title.as_deref());
        let read = read.and_then(|document| {
            let document = document.with_external_id(query.external_id.clone());
            let document = document.or_again(query.again).or_replace(query.replace);
            Ok(document.check("")?)
        });
        read.map_err(|problem| {
            let name = file.base_name().unwrap_or("without name");
            let field = problem.field.as_deref().unwrap_or("body");
            Problem {
                detail: format!("File {} ({name}): {}", nth + 1, problem.detail),
                field: Some(format!("file[{nth}].{field}")),
                ..problem
            }
        })
    });
    let documents = documents.collect::<Result<Vec<_>, Problem>>()?;
    if documents.is_empty() {
        let detail = "The form has no file: send at least one in a field of the name file.";
        return Err(Refusal::missing("file", detail).into());
    }
    Ok(Ingest::plain(alias, documents))
}

/// Reads an uploaded file. Its format is that of its content type, or of its name where the type says nothing. A file
/// that names no title has its own name as title.
fn uploaded(file: &Field, title: Option<&str>) -> Result<DocumentInput, Problem> {
    let name = file.base_name();
    let format = match file.kind.as_deref() {
        None | Some("application/octet-stream" | "") => name.and_then(Format::of_file_name),
        // Clients take Markdown for plain text.
        Some("text/plain") => name.and_then(Format::of_file_name).or(Some(Format::Plain)),
        Some(kind) => Format::of_media_type(kind),
    };
    let format = format.ok_or_else(|| {
        let expected = Format::MEDIA_TYPES.join(", ");
        unsupported(file.kind.as_deref(), &format!("one of {expected}"))
    })?;
    let stem = name.map(|name| name.rsplit_once('.').map_or(name, |(stem, _)| stem));
    document(format, file.charset.as_deref(), &file.bytes, title, stem)
}

fn media_types() -> String {
    let documents = Format::MEDIA_TYPES.join(", ");
    format!(
        "application/json, application/x-ndjson, {documents} or {}",
        form::MEDIA_TYPE
    )
}

fn json(query: &IngestQuery, body: &[u8]) -> Result<Ingest, Problem> {
    let in_query = [
        ("adapter", query.adapter.is_some()),
        ("title", query.title.is_some()),
        ("external_id", query.external_id.is_some()),
        ("again", query.again.is_some()),
        ("replace", query.replace.is_some()),
    ];
    if let Some((field, _)) = in_query.iter().find(|(_, given)| *given) {
        let detail = format!("With a JSON body {field} belongs into the body, not into the query.");
        return Err(Refusal::invalid(*field, detail).into());
    }
    Ok(fields::parse::<IngestRequest>(body)?.check()?)
}

/// Reads one JSON document from each line and skips blank lines. Files that were joined have marks between them.
fn lines(query: &IngestQuery, text: &str) -> Result<Ingest, Refusal> {
    let alias = alias(query.adapter.as_deref())?;
    if query.title.is_some() {
        let detail = "Each line of NDJSON has a title of its own.";
        return Err(Refusal::invalid("title", detail));
    }
    if query.external_id.is_some() {
        let detail = "Each line of NDJSON has an external_id of its own.";
        return Err(Refusal::invalid("external_id", detail));
    }
    let numbered = text.lines().zip(1..);
    let numbered = numbered.map(|(line, number)| (line.trim_start_matches('\u{feff}'), number));
    let filled = numbered.filter(|(line, _)| !line.trim().is_empty());
    let documents = filled.map(|(line, number)| {
        let document = fields::parse::<DocumentInput>(line.as_bytes());
        let document = document.and_then(|document| {
            let document = document.or_again(query.again);
            document.or_replace(query.replace).check("")
        });
        document.map_err(|refusal| Refusal {
            detail: format!("Line {number}: {}", refusal.detail),
            field: refusal.field.map(|field| format!("line {number}: {field}")),
            ..refusal
        })
    });
    let documents: Vec<NewDocument> = documents.collect::<Result<_, _>>()?;
    Ok(Ingest::plain(alias, documents))
}

/// Reads one document. `title`: the client's, before the document's own; `otherwise`: after it.
fn document(
    format: Format,
    charset: Option<&str>,
    bytes: &[u8],
    title: Option<&str>,
    otherwise: Option<&str>,
) -> Result<DocumentInput, Problem> {
    let read = reading::read(format, charset, bytes).map_err(unreadable)?;
    let own = [read.title.as_deref(), otherwise].into_iter().flatten();
    let own = own.filter(|title| !is_blank(title)).map(shortened).next();
    let title = title.map(str::to_owned).or(own);
    let title = title.ok_or_else(|| {
        let detail = "The document has no title: add ?title=…, or to Markdown a heading.";
        Refusal::missing("title", detail)
    })?;
    Ok(DocumentInput::new(title, read.text).with_metadata(read.metadata))
}

fn alias(adapter: Option<&str>) -> Result<AliasName, Refusal> {
    match adapter {
        Some(name) => Ok(AliasName::parse(name)?),
        None => {
            let detail = "Name the adapter to teach: ?adapter=NAME.";
            Err(Refusal::missing("adapter", detail))
        }
    }
}
