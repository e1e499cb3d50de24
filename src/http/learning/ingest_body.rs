//! The body of `/ingest` in any of its content types: JSON, NDJSON, Markdown or plain text.

use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::{media_type, unsupported};
use crate::store::NewDocument;
use crate::workflows::fields;
use crate::workflows::ingest::request::{DocumentInput, Ingest, IngestRequest};
use crate::workflows::refusal::Refusal;
use axum::http::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;

const MEDIA_TYPES: &str = "application/json, application/x-ndjson, text/plain or text/markdown";

#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IngestQuery {
    /// The adapter to teach, if the body is not JSON
    pub adapter: Option<String>,
    /// The document's title. Markdown has its first heading as the default
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

/// Reads the body by its content type. A refusal names the wrong field, and in NDJSON the line.
pub fn read(headers: &HeaderMap, query: &IngestQuery, body: &[u8]) -> Result<Ingest, Problem> {
    let kind = media_type(headers);
    let ingest = match kind.as_deref() {
        Some("application/json") => json(query, body),
        Some("application/x-ndjson" | "application/jsonl") => lines(query, body),
        Some("text/markdown") => markdown(query, body),
        Some("text/plain") => plain(query, body),
        other => return Err(unsupported(other, MEDIA_TYPES)),
    };
    Ok(ingest?)
}

fn json(query: &IngestQuery, body: &[u8]) -> Result<Ingest, Refusal> {
    let in_query = [
        ("adapter", query.adapter.is_some()),
        ("title", query.title.is_some()),
        ("external_id", query.external_id.is_some()),
        ("again", query.again.is_some()),
        ("replace", query.replace.is_some()),
    ];
    if let Some((field, _)) = in_query.iter().find(|(_, given)| *given) {
        let detail = format!("With a JSON body {field} belongs into the body, not into the query.");
        return Err(Refusal::invalid(*field, detail));
    }
    fields::parse::<IngestRequest>(body)?.check()
}

/// Reads one JSON document from each line and skips blank lines.
fn lines(query: &IngestQuery, body: &[u8]) -> Result<Ingest, Refusal> {
    let alias = alias(query)?;
    if query.title.is_some() {
        let detail = "Each line of NDJSON has a title of its own.";
        return Err(Refusal::invalid("title", detail));
    }
    if query.external_id.is_some() {
        let detail = "Each line of NDJSON has an external_id of its own.";
        return Err(Refusal::invalid("external_id", detail));
    }
    let numbered = utf8(body)?.lines().zip(1..);
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

fn markdown(query: &IngestQuery, body: &[u8]) -> Result<Ingest, Refusal> {
    let text = utf8(body)?;
    let title = query.title.as_deref().or_else(|| first_heading(text));
    single(query, title, text)
}

fn plain(query: &IngestQuery, body: &[u8]) -> Result<Ingest, Refusal> {
    single(query, query.title.as_deref(), utf8(body)?)
}

fn single(query: &IngestQuery, title: Option<&str>, text: &str) -> Result<Ingest, Refusal> {
    let alias = alias(query)?;
    let title = title.ok_or_else(|| {
        let detail = "The document has no title: add ?title=…, or to Markdown a heading.";
        Refusal::missing("title", detail)
    })?;
    let document = DocumentInput::new(title, text).with_external_id(query.external_id.clone());
    let document = document.or_again(query.again).or_replace(query.replace);
    let document = document.check("")?;
    Ok(Ingest::plain(alias, vec![document]))
}

fn alias(query: &IngestQuery) -> Result<AliasName, Refusal> {
    match &query.adapter {
        Some(name) => Ok(AliasName::parse(name)?),
        None => {
            let detail = "Name the adapter to teach: ?adapter=NAME.";
            Err(Refusal::missing("adapter", detail))
        }
    }
}

fn utf8(body: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(body).map_err(|error| {
        let place = error.valid_up_to();
        Refusal::malformed(
            "not_utf8",
            format!("The body is not UTF-8 at byte {place}."),
        )
    })
}

/// The first `# heading` of any level outside fenced code.
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
