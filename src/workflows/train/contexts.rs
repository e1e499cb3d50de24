//! The contexts of a training job: from the request or from a configured data set, checked one by one.

use super::request::{ContextInput, TaskInput, TrainRequest};
use super::run::TrainContext;
use crate::config::expand_home;
use crate::learn::knowledge::Passage;
use crate::learn::knowledge::datasets::{self, Dataset, DatasetError};
use crate::learn::outer::options::TrainDomain;
use crate::question::Question;
use crate::store::{NewDocument, digest};
use crate::workflows::adapt::task::solved;
use crate::workflows::fields::object;
use crate::workflows::ingest::request::DocumentInput;
use crate::workflows::lengths::{check_contexts, check_task};
use crate::workflows::refusal::Refusal;
use crate::workflows::services::Services;
use serde_json::Value;
use std::path::PathBuf;

/// Contexts as the job stores them.
pub struct Contexts {
    /// JSON: a list of [`TrainContext`], or of solved tasks.
    pub blob: Vec<u8>,
    pub count: usize,
    /// Digest of the contexts' texts.
    pub digest: String,
}

pub fn read(
    services: &Services,
    domain: TrainDomain,
    request: TrainRequest,
) -> Result<Contexts, Refusal> {
    match domain {
        TrainDomain::Knowledge => passages(services, request),
        TrainDomain::Fewshot => tasks(services, request),
    }
}

fn passages(services: &Services, request: TrainRequest) -> Result<Contexts, Refusal> {
    let Some(name) = request.dataset else {
        let contexts = sent(services, request.contexts)?;
        // Those whose text has its other name.
        let renamed = |value: &Value| value.get("context").is_some();
        let renamed: Vec<bool> = contexts.iter().map(renamed).collect();
        let inputs = contexts.into_iter().enumerate();
        let read = |(i, value)| object::<ContextInput>(&format!("contexts[{i}]"), value);
        let inputs: Vec<ContextInput> = inputs.map(read).collect::<Result<_, _>>()?;
        return checked(services, "contexts", inputs).map_err(|refusal| {
            let nth = renamed.iter().enumerate().filter(|(_, renamed)| **renamed);
            let mut texts = nth.map(|(i, _)| (i, format!("contexts[{i}].text")));
            match texts.find(|(_, text)| refusal.field.as_ref() == Some(text)) {
                None => refusal,
                Some((i, text)) => {
                    let sent = format!("contexts[{i}].context");
                    let detail = refusal.detail.replace(&text, &sent);
                    Refusal { detail, ..refusal }.field(sent)
                }
            }
        });
    };
    let inputs = passage_file(services, &name)?;
    if inputs.is_empty() {
        return Err(Refusal::invalid("dataset", "There is no context."));
    }
    checked(services, "dataset", inputs)
}

/// The contexts, each of which must fit. `at`: their field within the request.
fn checked(services: &Services, at: &str, inputs: Vec<ContextInput>) -> Result<Contexts, Refusal> {
    let documents = inputs.into_iter().enumerate().map(|(i, c)| {
        let document = DocumentInput::new(c.title, c.text).with_questions(c.questions);
        document.check(&format!("{at}[{i}]."))
    });
    let documents: Vec<NewDocument> = documents.collect::<Result<_, _>>()?;
    check_contexts(services, &documents, at)?;
    let context = |d: NewDocument| TrainContext {
        title: d.title,
        text: d.text,
        questions: d.questions,
    };
    let contexts: Vec<TrainContext> = documents.into_iter().map(context).collect();
    let passage = |c: &TrainContext| Passage::posted(&c.title, &c.text);
    let passages: Vec<(Passage, &[Question])> = contexts
        .iter()
        .map(|c| (passage(c), c.questions.as_slice()))
        .collect();
    Ok(Contexts {
        blob: serde_json::to_vec(&contexts).map_err(Refusal::internal)?,
        count: contexts.len(),
        digest: datasets::digest(passages.iter().map(|(p, q)| (p, *q))),
    })
}

/// Solved tasks with demonstrations. The answers to their test inputs decide the reward.
fn tasks(services: &Services, request: TrainRequest) -> Result<Contexts, Refusal> {
    let (at, inputs) = match (request.contexts, request.dataset) {
        (contexts, None) => ("contexts", sent(services, contexts)?),
        (_, Some(name)) => ("dataset", task_file(services, &name)?),
    };
    let tasks = inputs.into_iter().enumerate().map(|(i, value)| {
        let at = format!("{at}[{i}]");
        let TaskInput { title, task } = object(&at, value)?;
        let at = format!("{at}.task");
        let solved = solved(&at, title, task)?;
        check_task(services, &solved.task, None, &at)?;
        Ok(solved)
    });
    let tasks = tasks.collect::<Result<Vec<_>, Refusal>>()?;
    let blob = serde_json::to_vec(&tasks).map_err(Refusal::internal)?;
    Ok(Contexts {
        count: tasks.len(),
        digest: digest(&blob),
        blob,
    })
}

/// The contexts of the request, if there are not too many.
fn sent(services: &Services, contexts: Option<Vec<Value>>) -> Result<Vec<Value>, Refusal> {
    let Some(contexts) = contexts else {
        let detail = "Send contexts to practise on, or name a dataset.";
        return Err(Refusal::missing("contexts", detail));
    };
    let most = services.config.limits.documents_per_request;
    match contexts.len() {
        0 => Err(Refusal::invalid("contexts", "There is no context.")),
        n if n > most => {
            let detail =
                format!("{n} contexts are more than the {most} that one request may bring.");
            Err(Refusal::invalid("contexts", detail))
        }
        _ => Ok(contexts),
    }
}

/// Reads a file with a list of tasks in the form of the request.
fn task_file(services: &Services, name: &str) -> Result<Vec<Value>, Refusal> {
    let tasks = datasets::read_list(&path_of(services, name)?).map_err(unreadable)?;
    match tasks.is_empty() {
        true => Err(Refusal::invalid("dataset", "There is no task.")),
        false => Ok(tasks),
    }
}

fn passage_file(services: &Services, name: &str) -> Result<Vec<ContextInput>, Refusal> {
    let Dataset {
        entries,
        unanswerable,
    } = datasets::read(&path_of(services, name)?).map_err(unreadable)?;
    if unanswerable > 0 {
        tracing::info!(
            dataset = name,
            unanswerable,
            "questions that their passage does not answer are left out"
        );
    }
    let context = |e: datasets::Entry| ContextInput {
        title: e.passage.title,
        text: e.passage.text,
        questions: e.questions,
    };
    Ok(entries.into_iter().map(context).collect())
}

fn path_of(services: &Services, name: &str) -> Result<PathBuf, Refusal> {
    let known = &services.config.datasets;
    let Some(path) = known.get(name) else {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let names = match names.is_empty() {
            true => "none is configured".to_owned(),
            false => format!("there are {}", names.join(", ")),
        };
        let name: String = name.chars().take(80).collect();
        let detail = format!("There is no data set '{name}' under [datasets]; {names}.");
        return Err(Refusal::invalid("dataset", detail));
    };
    Ok(expand_home(&path.to_string_lossy()))
}

fn unreadable(error: DatasetError) -> Refusal {
    Refusal::invalid("dataset", format!("{error}."))
}
