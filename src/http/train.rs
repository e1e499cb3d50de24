//! `POST /train`: contexts to practise on in, a job out.

use super::error::Problem;
use super::extract::{Body, from_value, json as parse, media_type, unsupported};
use super::ingest::{check_lengths, idempotency_key};
use super::ingest_body::{DocumentInput, document};
use super::jobs::JobBody;
use super::state::AppState;
use crate::adapters::AliasName;
use crate::jobs::train::{Settings, TrainContext, TrainInput};
use crate::learn::datasets;
use crate::learn::grading::Grader;
use crate::learn::knowledge::Passage;
use crate::learn::knowledge::domain::{KnowledgeOptions, QuestionSource, WritingOptions};
use crate::learn::options::{IngestOptions, InnerOptions};
use crate::learn::outer::options::{Keep, OuterOptions, Preset, Reward};
use crate::question::Question;
use crate::store::{IdempotencyKey, Job, JobKind, NewDocument};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainRequest {
    domain: TrainDomain,
    /// The adapter that is to write self-edits; made if there is none, continued if there is
    policy: String,
    /// What to practise on; this or `dataset`
    contexts: Option<Vec<ContextInput>>,
    /// A file named under `[datasets]` in the configuration
    dataset: Option<String>,
    /// What is not given below is as this says
    #[serde(default)]
    preset: Preset,
    rounds: Option<usize>,
    /// Contexts practised on in a round
    contexts_per_round: Option<usize>,
    /// Self-edits written for a context
    candidates: Option<usize>,
    /// Trainings of each candidate, from different seeds
    repeats: Option<usize>,
    keep: Option<Keep>,
    reward: Option<Reward>,
    /// Train first a part of the epochs, and only the better half of a context's candidates further
    halving: Option<bool>,
    /// Contexts set aside to score the policy on; at most a quarter unless given
    held_out: Option<usize>,
    /// Candidates trained together in one batch
    pack: Option<usize>,
    #[schema(value_type = Option<InnerOptions>)]
    policy_training: Option<Value>,
    /// How the policy writes
    #[schema(value_type = Option<WritingOptions>)]
    self_edit: Option<Value>,
    /// One candidate's training
    #[schema(value_type = Option<InnerOptions>)]
    training: Option<Value>,
    /// What candidates are rewarded by: the contexts' questions, or the model's own
    questions: Option<QuestionSource>,
    /// Questions that the model writes for a context
    probes: Option<usize>,
    grader: Option<Grader>,
    /// Everything drawn is drawn from it
    seed: Option<u64>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainDomain {
    /// Passages with questions
    Knowledge,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextInput {
    title: String,
    /// The passage; `context` means the same
    #[serde(alias = "context")]
    text: String,
    /// Without any the model writes its own
    #[serde(default)]
    questions: Vec<Question>,
}

#[derive(Serialize, ToSchema)]
pub struct TrainResponse {
    job: JobBody,
}

/// Teach an adapter to write better study notes
///
/// The same `Idempotency-Key` with the same request answers with the same job.
#[utoipa::path(post, path = "/train", tag = "learning",
    params(("Idempotency-Key" = Option<String>, Header, description = "Yours, unique for this request")),
    request_body = TrainRequest,
    responses((status = 202, description = "The job that practises, at Location", body = TrainResponse)))]
pub async fn train(
    State(state): State<AppState>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Response, Problem> {
    let kind = media_type(&headers);
    if kind.as_deref() != Some("application/json") {
        return Err(unsupported(kind.as_deref(), "application/json"));
    }
    let key = idempotency_key(&headers, &json!("train"), &body)?;
    let request: TrainRequest = parse(&body)?;
    let submit = move |state: &AppState| submit(state, request, key.as_ref());
    let job = state.blocking(submit).await?;
    let location = [(header::LOCATION, format!("/jobs/{}", job.id))];
    let body = Json(TrainResponse { job: job.into() });
    Ok((StatusCode::ACCEPTED, location, body).into_response())
}

fn submit(
    state: &AppState,
    request: TrainRequest,
    key: Option<&IdempotencyKey>,
) -> Result<Job, Problem> {
    let TrainDomain::Knowledge = request.domain;
    let alias = AliasName::parse(&request.policy).map_err(|e| of_policy(e.into()))?;
    let known = state.registry.check_name(&alias);
    known.map_err(|e| of_policy(e.into()))?;
    state.registry.check_continues(&alias)?;
    let (outer, knowledge) = given(&request);
    let (preset, dataset) = (request.preset, request.dataset.clone());
    let contexts = contexts(state, request)?;
    let passages: Vec<(Passage, &[Question])> = contexts
        .iter()
        .map(|c| {
            let passage = Passage {
                title: c.title.clone(),
                text: c.text.clone(),
            };
            (passage, c.questions.as_slice())
        })
        .collect();
    let bytes = serde_json::to_vec(&contexts).map_err(Problem::internal)?;
    let mut input = TrainInput {
        preset,
        outer,
        knowledge,
        contexts: String::new(),
        context_count: contexts.len(),
        contexts_digest: datasets::digest(passages.iter().map(|(p, q)| (p, *q))),
        dataset,
    };
    check(&input)?;
    // The blob is named by the job before anybody may sweep it.
    let blobs = state.store.blobs().guard();
    input.contexts = blobs.put(&bytes)?;
    let input = serde_json::to_value(&input).map_err(Problem::internal)?;
    Ok(state
        .jobs
        .submit(JobKind::Train, &alias, &input, &[], key)?)
}

/// The options that were given: the loop's, and the domain's.
fn given(request: &TrainRequest) -> (Map<String, Value>, Map<String, Value>) {
    fn filled<const N: usize>(options: [(&str, Value); N]) -> Map<String, Value> {
        let given = options.into_iter().filter(|(_, v)| !v.is_null());
        given.map(|(k, v)| (k.to_owned(), v)).collect()
    }
    let r = request;
    let outer = filled([
        ("rounds", json!(r.rounds)),
        ("contexts_per_round", json!(r.contexts_per_round)),
        ("candidates", json!(r.candidates)),
        ("repeats", json!(r.repeats)),
        ("keep", json!(r.keep)),
        ("reward", json!(r.reward)),
        ("halving", json!(r.halving)),
        ("held_out", json!(r.held_out)),
        ("pack", json!(r.pack)),
        ("policy_training", json!(r.policy_training)),
        ("seed", json!(r.seed)),
    ]);
    let knowledge = filled([
        ("self_edit", json!(r.self_edit)),
        ("training", json!(r.training)),
        ("questions", json!(r.questions)),
        ("probes", json!(r.probes)),
        ("grader", json!(r.grader)),
    ]);
    (outer, knowledge)
}

/// Unknown names and wrong types by the types of the learning room, ranges by its own check.
fn check(input: &TrainInput) -> Result<(), Problem> {
    for options in [&input.outer, &input.knowledge] {
        for name in ["policy_training", "self_edit", "training"] {
            // Serde would take a list for the fields in their order.
            if options.get(name).is_some_and(|v| !v.is_object()) {
                return Err(Problem::invalid(name, format!("{name} is an object.")));
            }
        }
    }
    let (outer, knowledge) = (input.outer.clone().into(), input.knowledge.clone().into());
    from_value::<OuterOptions>(OuterOptions::merged(input.preset, &outer))?;
    let tuned = IngestOptions::default();
    from_value::<KnowledgeOptions>(KnowledgeOptions::merged(input.preset, &tuned, &knowledge))?;
    let settings = Settings::of(input, &tuned);
    settings.map_err(|e| Problem::invalid(e.field.clone(), format!("{e}.")))?;
    Ok(())
}

fn contexts(state: &AppState, request: TrainRequest) -> Result<Vec<TrainContext>, Problem> {
    let (at, inputs) = match (request.contexts, request.dataset) {
        (Some(_), Some(_)) => {
            let detail = "Send contexts or name a dataset, not both.";
            return Err(Problem::invalid("dataset", detail));
        }
        (None, None) => {
            let detail = "Send contexts to practise on, or name a dataset.";
            let mut problem = Problem::invalid("contexts", detail);
            problem.code = "missing_field";
            return Err(problem);
        }
        (Some(inputs), None) => {
            let (most, sent) = (state.config.limits.documents_per_request, inputs.len());
            if sent > most {
                let detail =
                    format!("{sent} contexts are more than the {most} that one request may bring.");
                return Err(Problem::invalid("contexts", detail));
            }
            ("contexts", inputs)
        }
        (None, Some(name)) => ("dataset", dataset(state, &name)?),
    };
    if inputs.is_empty() {
        return Err(Problem::invalid(at, "There is no context."));
    }
    let documents = inputs.into_iter().enumerate().map(|(i, c)| {
        let input = DocumentInput::new(c.title, c.text, c.questions);
        document(input, &format!("{at}[{i}]."))
    });
    let documents: Vec<NewDocument> = documents.collect::<Result<_, _>>()?;
    check_lengths(state, &documents, at)?;
    let context = |d: NewDocument| TrainContext {
        title: d.title,
        text: d.text,
        questions: d.questions,
    };
    Ok(documents.into_iter().map(context).collect())
}

fn dataset(state: &AppState, name: &str) -> Result<Vec<ContextInput>, Problem> {
    let known = &state.config.datasets;
    let Some(path) = known.get(name) else {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let names = match names.is_empty() {
            true => "none is configured".to_owned(),
            false => format!("there are {}", names.join(", ")),
        };
        let name: String = name.chars().take(80).collect();
        let detail = format!("There is no data set '{name}' under [datasets]; {names}.");
        return Err(Problem::invalid("dataset", detail));
    };
    let entries = datasets::read(&crate::config::expand_home(&path.to_string_lossy()));
    let entries = entries.map_err(|e| Problem::invalid("dataset", format!("{e}.")))?;
    let context = |e: datasets::Entry| ContextInput {
        title: e.passage.title,
        text: e.passage.text,
        questions: e.questions,
    };
    Ok(entries.into_iter().map(context).collect())
}

fn of_policy(problem: Problem) -> Problem {
    problem.field("policy")
}
