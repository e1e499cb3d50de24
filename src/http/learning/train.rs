//! `POST /train`: contexts to practise on in, a job out.

use super::adapt::check_length;
use super::adapt_body::{self, object};
use super::ingest::{check_lengths, idempotency_key};
use super::ingest_body::{DocumentInput, document};
use super::jobs::{JobBody, located};
use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::{Body, from_value, json as parse, json_only};
use crate::http::common::state::AppState;
use crate::learn::datasets::{self, DatasetError};
use crate::learn::grading::grader::Grader;
use crate::learn::knowledge::Passage;
use crate::learn::options::training::InnerOptions;
use crate::learn::outer::domains::fewshot::FewShotOptions;
use crate::learn::outer::domains::knowledge::{KnowledgeOptions, QuestionSource, WritingOptions};
use crate::learn::outer::options::{Baseline, Keep, OuterOptions, Preset, Reward};
use crate::question::Question;
use crate::store::{IdempotencyKey, Job, JobKind, NewDocument, digest};
use crate::workflows::train::run::{Settings, TrainContext, TrainDomain, TrainInput};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use utoipa::ToSchema;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainRequest {
    domain: TrainDomain,
    /// The adapter that is to write self-edits; made if there is none, continued if there is
    policy: String,
    /// What to practise on; this or `dataset`
    #[schema(value_type = Option<Vec<ContextInput>>)]
    contexts: Option<Vec<Value>>,
    /// A file named under `[datasets]` in the configuration
    dataset: Option<String>,
    /// What is not given below is as this says
    #[serde(default)]
    preset: Preset,
    rounds: Option<usize>,
    /// Contexts practised on in a round
    contexts_per_round: Option<usize>,
    /// The time to be done in, about: contexts are left out where the machine is too slow for all. 0: no limit. The
    /// default preset has an hour, unless `contexts_per_round` is given
    minutes: Option<u32>,
    /// Self-edits written for a context
    candidates: Option<usize>,
    /// Trainings of each candidate, from different seeds
    repeats: Option<usize>,
    keep: Option<Keep>,
    reward: Option<Reward>,
    /// What a candidate's gain is counted from: what the base answers, or what is answered after learning the context
    /// without any self-edit (not with `halving`, the reward `rubric` or few-shot tasks)
    baseline: Option<Baseline>,
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
    /// How tasks with demonstrations are practised
    #[schema(value_type = Option<FewShotOptions>)]
    fewshot: Option<Value>,
    /// Everything drawn is drawn from it
    seed: Option<u64>,
}

/// A task with demonstrations, whose answers are known.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskInput {
    title: String,
    /// As `/adapt` takes it, with an `output` beside each test input
    #[schema(value_type = Object)]
    task: Value,
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
    json_only(&headers)?;
    let key = idempotency_key(&headers, &json!("train"), &body)?;
    let request: TrainRequest = parse(&body)?;
    let submit = move |state: &AppState| submit(state, request, key.as_ref());
    let job = state.blocking(submit).await?;
    let id = job.id.clone();
    Ok(located(&id, false, TrainResponse { job: job.into() }))
}

fn submit(
    state: &AppState,
    request: TrainRequest,
    key: Option<&IdempotencyKey>,
) -> Result<Job, Problem> {
    let alias = AliasName::parse(&request.policy).map_err(|e| of_policy(e.into()))?;
    let known = state.registry.check_name(&alias);
    known.map_err(|e| of_policy(e.into()))?;
    state.registry.check_continues(&alias)?;
    let (domain, preset) = (request.domain, request.preset);
    let dataset = request.dataset.clone();
    let (outer, knowledge) = given(&request);
    belongs(domain, &knowledge, request.fewshot.as_ref())?;
    let fewshot = request.fewshot.clone();
    let fewshot = fewshot.map(|value| object("fewshot", value)).transpose()?;
    let mut input = TrainInput {
        domain,
        preset,
        outer,
        knowledge,
        fewshot: fewshot.unwrap_or_default(),
        contexts: String::new(),
        context_count: 0,
        contexts_digest: String::new(),
        dataset,
    };
    one_source(&request)?;
    let bytes = match domain {
        TrainDomain::Knowledge => passages(state, request, &mut input)?,
        TrainDomain::Fewshot => tasks(state, request, &mut input)?,
    };
    check(state, &input)?;
    // The blob is named by the job before anybody may sweep it.
    let blobs = state.store.blobs().guard();
    input.contexts = blobs.put(&bytes)?;
    let input = serde_json::to_value(&input).map_err(Problem::internal)?;
    Ok(state
        .jobs
        .submit(JobKind::Train, &alias, &input, &[], key)?)
}

/// The passages as they are stored, counted and named.
fn passages(
    state: &AppState,
    request: TrainRequest,
    input: &mut TrainInput,
) -> Result<Vec<u8>, Problem> {
    let contexts = contexts(state, request)?;
    let passages: Vec<(Passage, &[Question])> = contexts
        .iter()
        .map(|c| {
            let passage = Passage::posted(&c.title, &c.text);
            (passage, c.questions.as_slice())
        })
        .collect();
    input.context_count = contexts.len();
    input.contexts_digest = datasets::digest(passages.iter().map(|(p, q)| (p, *q)));
    serde_json::to_vec(&contexts).map_err(Problem::internal)
}

/// The tasks likewise. Their test answers are what candidates are rewarded by.
fn tasks(
    state: &AppState,
    request: TrainRequest,
    input: &mut TrainInput,
) -> Result<Vec<u8>, Problem> {
    let (at, inputs) = match (request.contexts, request.dataset) {
        (contexts, None) => ("contexts", sent(state, contexts)?),
        (_, Some(name)) => ("dataset", task_file(&dataset_path(state, &name)?)?),
    };
    let tasks = inputs.into_iter().enumerate().map(|(i, value)| {
        let at = format!("{at}[{i}]");
        let TaskInput { title, task } = object(&at, value)?;
        let solved = adapt_body::solved(&format!("{at}.task"), title, task)?;
        check_length(state, &solved.task, None).map_err(|p| p.field(format!("{at}.task")))?;
        Ok(solved)
    });
    let tasks = tasks.collect::<Result<Vec<_>, Problem>>()?;
    let bytes = serde_json::to_vec(&tasks).map_err(Problem::internal)?;
    input.context_count = tasks.len();
    input.contexts_digest = digest(&bytes);
    Ok(bytes)
}

/// Options of another domain would do nothing.
fn belongs(
    domain: TrainDomain,
    knowledge: &Map<String, Value>,
    fewshot: Option<&Value>,
) -> Result<(), Problem> {
    let (field, theirs) = match domain {
        TrainDomain::Knowledge => (fewshot.map(|_| "fewshot"), "fewshot"),
        TrainDomain::Fewshot => (knowledge.keys().next().map(String::as_str), "knowledge"),
    };
    match field {
        None => Ok(()),
        Some(field) => {
            let detail = format!("{field} is an option of the domain {theirs}.");
            Err(Problem::invalid(field, detail))
        }
    }
}

/// The contexts of the request, if there are not too many.
fn sent(state: &AppState, contexts: Option<Vec<Value>>) -> Result<Vec<Value>, Problem> {
    let Some(contexts) = contexts else {
        let detail = "Send contexts to practise on, or name a dataset.";
        let mut problem = Problem::invalid("contexts", detail);
        problem.code = "missing_field";
        return Err(problem);
    };
    let (most, sent) = (state.config.limits.documents_per_request, contexts.len());
    match sent {
        0 => Err(Problem::invalid("contexts", "There is no context.")),
        n if n > most => {
            let detail =
                format!("{sent} contexts are more than the {most} that one request may bring.");
            Err(Problem::invalid("contexts", detail))
        }
        _ => Ok(contexts),
    }
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
        ("minutes", json!(r.minutes)),
        ("candidates", json!(r.candidates)),
        ("repeats", json!(r.repeats)),
        ("keep", json!(r.keep)),
        ("reward", json!(r.reward)),
        ("baseline", json!(r.baseline)),
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
fn check(state: &AppState, input: &TrainInput) -> Result<(), Problem> {
    for options in [&input.outer, &input.knowledge] {
        for name in ["policy_training", "self_edit", "training"] {
            // Serde would take a list for the fields in their order.
            if options.get(name).is_some_and(|v| !v.is_object()) {
                return Err(Problem::invalid(name, format!("{name} is an object.")));
            }
        }
    }
    from_value::<OuterOptions>(Settings::outer(input))?;
    let knowledge = input.knowledge.clone().into();
    let tuned = state.learning.tuned();
    from_value::<KnowledgeOptions>(KnowledgeOptions::merged(input.preset, &tuned, &knowledge))?;
    let fewshot = FewShotOptions::merged(input.preset, &input.fewshot.clone().into());
    from_value::<FewShotOptions>(fewshot).map_err(|p| {
        let field = p.field.clone().unwrap_or_default();
        p.field(format!("fewshot.{field}"))
    })?;
    let settings = Settings::of(input, &tuned);
    settings.map_err(|e| Problem::invalid(e.field.clone(), format!("{e}.")))?;
    Ok(())
}

fn contexts(state: &AppState, request: TrainRequest) -> Result<Vec<TrainContext>, Problem> {
    let (at, inputs) = match (request.contexts, request.dataset) {
        (contexts, None) => {
            let inputs = sent(state, contexts)?.into_iter().enumerate();
            let read = |(i, value)| object::<ContextInput>(&format!("contexts[{i}]"), value);
            ("contexts", inputs.map(read).collect::<Result<_, _>>()?)
        }
        (_, Some(name)) => ("dataset", passage_file(&dataset_path(state, &name)?)?),
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

/// What is practised on is in the request or in a file.
fn one_source(request: &TrainRequest) -> Result<(), Problem> {
    if request.contexts.is_some() && request.dataset.is_some() {
        let detail = "Send contexts or name a dataset, not both.";
        return Err(Problem::invalid("dataset", detail));
    }
    Ok(())
}

fn dataset_path(state: &AppState, name: &str) -> Result<PathBuf, Problem> {
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
    Ok(crate::config::expand_home(&path.to_string_lossy()))
}

/// A list of tasks as the request would bring them.
fn task_file(path: &Path) -> Result<Vec<Value>, Problem> {
    let tasks = datasets::read_list(path).map_err(unreadable)?;
    match tasks.is_empty() {
        true => Err(Problem::invalid("dataset", "There is no task.")),
        false => Ok(tasks),
    }
}

fn passage_file(path: &Path) -> Result<Vec<ContextInput>, Problem> {
    let entries = datasets::read(path).map_err(unreadable)?;
    let context = |e: datasets::Entry| ContextInput {
        title: e.passage.title,
        text: e.passage.text,
        questions: e.questions,
    };
    Ok(entries.into_iter().map(context).collect())
}

fn unreadable(error: DatasetError) -> Problem {
    Problem::invalid("dataset", format!("{error}."))
}

fn of_policy(problem: Problem) -> Problem {
    problem.field("policy")
}
