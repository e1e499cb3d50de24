//! `POST /ingest`: documents in, a job out.
//!
//! The job, its documents and the idempotency key are stored in one transaction; the answer comes from
//! what was stored, so a repeated request gets the first one's job and documents.

use super::ingest_body::{self, Ingest, IngestQuery, IngestRequest};
use super::jobs::{JobBody, located};
use crate::adapters;
use crate::http::common::error::Problem;
use crate::http::common::extract::{Body, Query, wait};
use crate::http::common::state::AppState;
use crate::learn::options::error::OptionError;
use crate::store::{DocumentState, IdempotencyKey, Job, JobKind, NewDocument, digest};
use crate::workflows::ingest::run::made_by;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

const KEY_HEADER: &str = "idempotency-key";
/// Tokens of the window that a document leaves to the prompts around it and to their answers.
const ROOM_FOR_PROMPTS: usize = 512;
/// A question is asked and answered within that room.
const LONGEST_QUESTION: usize = 256;

#[derive(Serialize, ToSchema)]
pub struct IngestResponse {
    job: JobBody,
    documents: Vec<IngestedDocument>,
}

#[derive(Serialize, ToSchema)]
struct IngestedDocument {
    id: String,
    title: String,
    state: DocumentState,
    /// The version of the adapter that learned it
    version: Option<u64>,
}

/// Learn documents
///
/// Also takes `text/plain`, `text/markdown` and `application/x-ndjson` (a document a line) with
/// `?adapter=`. The same `Idempotency-Key` with the same request answers with the same job.
#[utoipa::path(post, path = "/ingest", tag = "learning",
    params(IngestQuery, ("Idempotency-Key" = Option<String>, Header, description = "Yours, unique for this request")),
    request_body(content(
        (IngestRequest = "application/json"), (String = "text/plain"), (String = "text/markdown"),
        (String = "application/x-ndjson"))),
    responses(
        (status = 202, description = "The job that learns them, at Location", body = IngestResponse),
        (status = 200, description = "With ?wait=: the job has ended", body = IngestResponse)))]
pub async fn ingest(
    State(state): State<AppState>,
    Query(query): Query<IngestQuery>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let patience = query.wait.as_deref().map(wait).transpose()?;
    let about = json!([query.adapter, query.title]);
    let key = idempotency_key(&headers, &about, &body)?;
    let submit = move |state: &AppState| -> Result<Job, Problem> {
        let most = state.config.limits.documents_per_request;
        let ingest = ingest_body::read(&headers, &query, &body, most)?;
        submit(state, &ingest, key.as_ref())
    };
    let mut job = state.blocking(submit).await?;
    if let Some(patience) = patience {
        job = state.jobs.wait(&job.id, patience).await?;
    }
    let id = job.id.clone();
    let stored = state
        .blocking(move |s| s.store.documents().for_job(&id))
        .await?;
    let documents = stored.into_iter().map(|document| IngestedDocument {
        id: document.id,
        title: document.title,
        state: document.state,
        version: document.version,
    });
    let (id, ended) = (
        job.id.clone(),
        patience.is_some() && job.state.is_terminal(),
    );
    let body = IngestResponse {
        job: job.into(),
        documents: documents.collect(),
    };
    Ok(located(&id, ended, body))
}

/// Everything is checked before anything is stored.
pub fn submit(
    state: &AppState,
    ingest: &Ingest,
    key: Option<&IdempotencyKey>,
) -> Result<Job, Problem> {
    state.registry.check_name(&ingest.alias)?;
    state.registry.check_continues(&ingest.alias)?;
    check_options(state, ingest)?;
    check_lengths(state, &ingest.documents, "documents")?;
    let ids: Vec<&str> = ingest.documents.iter().map(|d| d.id.as_str()).collect();
    let mut input = ingest.options.clone();
    input.insert("documents".to_owned(), json!(ids));
    let input = Value::Object(input);
    let (alias, documents) = (&ingest.alias, &ingest.documents);
    Ok(state
        .jobs
        .submit(JobKind::Ingest, alias, &input, documents, key)?)
}

/// The options must go together, over those of this server and of the alias; a teacher, a judge or a policy that is
/// asked for must be there.
fn check_options(state: &AppState, ingest: &Ingest) -> Result<(), Problem> {
    let (teacher, judge) = (&state.config.teacher, &state.config.judge);
    let refused = |e: OptionError| Problem::invalid(e.field.clone(), format!("{e}."));
    let live = state.store.aliases().get(ingest.alias.as_str())?;
    let made_by = made_by(&state.store, &ingest.alias, live.and_then(|a| a.live))?;
    let request = Value::Object(ingest.options.clone());
    let options = state.learning.under(&request, made_by).map_err(refused)?;
    let helped = options.check_helpers(teacher.is_some(), judge.is_some());
    helped.map_err(refused)?;
    let Some(policy) = &options.self_edit.policy else {
        return Ok(());
    };
    const FIELD: &str = "self_edit.policy";
    match state.registry.resolve(policy) {
        Ok(_) => Ok(()),
        Err(adapters::Error::Unknown { .. }) => {
            let detail = format!(
                "There is no adapter {policy:?} to write with; /adapters lists those there are, \
                 /adapters/NAME/versions the versions of one."
            );
            Err(Problem::invalid(FIELD, detail))
        }
        Err(error) => Err(Problem::from(error).field(FIELD)),
    }
}

/// What does not fit the window with the prompts around it could be neither read nor trained on.
/// `at` is where they stand in the request.
pub fn check_lengths(state: &AppState, documents: &[NewDocument], at: &str) -> Result<(), Problem> {
    let (tokenizer, window) = (&state.engine.files().tokenizer, state.engine.window());
    let most = window.saturating_sub(ROOM_FOR_PROMPTS);
    for (i, document) in documents.iter().enumerate() {
        let title = tokenizer.encode(&document.title)?.len();
        let tokens = title + tokenizer.encode(&document.text)?.len();
        if tokens > most {
            let detail = format!(
                "Title and text have {tokens} tokens, more than the {most} that leave room for \
                 questions in the context window of {window} tokens; split the document."
            );
            return Err(Problem::bad_request("context_length_exceeded", detail)
                .field(format!("{at}[{i}].text")));
        }
        for (j, given) in document.questions.iter().enumerate() {
            let question = tokenizer.encode(&given.question)?.len();
            let tokens = question + tokenizer.encode(&given.answer)?.len();
            if tokens > LONGEST_QUESTION {
                let detail = format!(
                    "A question and its answer have at most {LONGEST_QUESTION} tokens together; \
                     these have {tokens}."
                );
                let field = format!("{at}[{i}].questions[{j}]");
                return Err(Problem::invalid(field, detail));
            }
        }
    }
    Ok(())
}

/// `about`: everything outside of the body that decides what is learned.
pub fn idempotency_key(
    headers: &HeaderMap,
    about: &Value,
    body: &[u8],
) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(value) = headers.get(KEY_HEADER) else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default().trim();
    if key.is_empty() || key.len() > 255 {
        let detail = "An Idempotency-Key has 1 to 255 visible ASCII characters.";
        return Err(Problem::invalid("Idempotency-Key", detail));
    }
    // Everything that decides what is learned, but not how long the client waits.
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(|kind| kind.as_bytes());
    let request = json!([kind, about, digest(body)]);
    Ok(Some(IdempotencyKey {
        key: key.to_owned(),
        request: digest(request.to_string().as_bytes()),
    }))
}
