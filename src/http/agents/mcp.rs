//! `/mcp`: the Model Context Protocol over streamable HTTP, so that an agent framework can use this server without
//! extra code. Each of the five tools calls the same workflow as a route. There are no sessions: a call carries all
//! its arguments.

use super::progress::Reporter;
use super::tools::TOOLS;
use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::state::AppState;
use crate::http::learning::documents::Lines;
use crate::http::openai::chat::{self, ChatRequest};
use crate::http::openai::messages::ChatMessage;
use crate::store::{DocumentFilter, Job, JobFilter, JobState};
use crate::workflows::adapt::request::{Adapt, AdaptRequest, Budget, Keep};
use crate::workflows::adapt::task::{TaskBody, TaskKind};
use crate::workflows::fields::{self, from_value};
use crate::workflows::ingest::request::{DocumentInput, Ingest};
use crate::workflows::refusal::Refusal;
use crate::workflows::services::Services;
use crate::workflows::{adapt, ingest};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time that a call waits for its job. A longer job goes on, and `list_knowledge` shows it.
const PATIENCE: Duration = Duration::from_secs(600);
/// Tokens of an answer by default.
const ANSWER_TOKENS: usize = 256;
/// Most entries of each list: adapters, documents of an adapter, and jobs of a state.
const LISTED: usize = 100;

/// The service behind `/mcp`. The layers around it check keys and hosts, so its own check of hosts is off.
pub fn service(state: &AppState) -> StreamableHttpService<Tools, NeverSessionManager> {
    let config = StreamableHttpServerConfig::default()
        .disable_allowed_hosts()
        .with_legacy_session_mode(false)
        .with_max_request_body_bytes(state.config.limits.body_bytes);
    let tools = Tools(state.clone());
    let manager = Arc::new(NeverSessionManager::default());
    StreamableHttpService::new(move || Ok(tools.clone()), manager, config)
}

#[derive(Clone)]
pub struct Tools(AppState);

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let this = Implementation::new("autodidact", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities)
            .with_server_info(this)
            .with_instructions(
                "A language model that keeps learning. Teach it documents with learn_document, or \
                 correct it with adapt_from_examples; then ask the adapter that came of it.",
            )
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = TOOLS.iter().map(|tool| tool.described()).collect();
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = TOOLS.iter().find(|tool| tool.name == request.name) else {
            let message = format!("There is no tool '{}'.", request.name);
            return Err(ErrorData::invalid_params(message, None));
        };
        let arguments = request.arguments.unwrap_or_default();
        let mut reporter = Reporter::new(&context, self.0.heartbeat);
        let answer = match tool.check(&arguments) {
            Err(problem) => Err(problem),
            Ok(()) => match tool.name {
                "learn_document" => self.learn_document(arguments, &mut reporter).await,
                "adapt_from_examples" => self.adapt_from_examples(arguments, &mut reporter).await,
                "ask" => reporter.during("answering", self.ask(arguments)).await,
                "list_knowledge" => self.list_knowledge(arguments).await,
                "rollback" => self.rollback(arguments).await,
                other => Err(Problem::internal(format!("the tool {other} does nothing"))),
            },
        };
        // The model gets the error as a tool result, so that it can correct its call. The framework gets no error.
        let result = match answer {
            Ok(value) => CallToolResult::success(vec![ContentBlock::text(value.to_string())]),
            Err(problem) => CallToolResult::error(vec![ContentBlock::text(problem.detail)]),
        };
        Ok(result.into())
    }
}

impl Tools {
    async fn learn_document(
        &self,
        mut arguments: JsonObject,
        reporter: &mut Reporter,
    ) -> Result<Value, Problem> {
        let adapter = arguments.remove("adapter");
        let submit = move |services: &Services| -> Result<(Job, String), Refusal> {
            let document: DocumentInput = from_value(Value::Object(arguments))?;
            let alias = AliasName::parse(text(adapter.as_ref()))?;
            let ingest = Ingest::plain(alias, vec![document.check("")?]);
            let accepted = ingest::admit::submit(services, &ingest, None)?;
            let posted = accepted.posted.into_iter().next();
            Ok((accepted.job, posted.map(|p| p.id).unwrap_or_default()))
        };
        let submitted = self.0.blocking(move |s| submit(s)).await;
        let (job, id): (Job, String) = submitted?;
        let job = self.ended(job, reporter).await?;
        Ok(match &job.result {
            // A known document may have been learned in company.
            Some(result) => {
                let documents = result["documents"].as_array().into_iter().flatten();
                let document = documents.into_iter().find(|d| d["id"] == id.as_str());
                json!({"adapter": job.alias, "document": document})
            }
            None => unfinished(&job)?,
        })
    }

    async fn adapt_from_examples(
        &self,
        arguments: JsonObject,
        reporter: &mut Reporter,
    ) -> Result<Value, Problem> {
        let submit = move |services: &Services| {
            adapt::admit::submit(services, adapt_request(&arguments)?, None)
        };
        let job = self.finished(submit, reporter).await?;
        let Some(result) = &job.result else {
            return unfinished(&job);
        };
        let predictions = result["predictions"].as_array().into_iter().flatten();
        let outputs: Vec<&Value> = predictions.map(|p| &p["attempts"]).collect();
        Ok(json!({
            "adapter": job.alias,
            "version": result["version"],
            "expires_at": result["expires_at"],
            "outputs": outputs,
            "self_edit": result["self_edit"],
        }))
    }

    async fn ask(&self, arguments: JsonObject) -> Result<Value, Problem> {
        let system = given(&arguments, "system").map(|s| ChatMessage::new("system", text(Some(s))));
        let question = ChatMessage::new("user", text(given(&arguments, "question")));
        let model = given(&arguments, "adapter").and_then(Value::as_str);
        let tokens = given(&arguments, "max_tokens").and_then(Value::as_u64);
        let request = ChatRequest::greedy(
            model.unwrap_or(self.0.registry.base_id()),
            system.into_iter().chain([question]).collect(),
            tokens.map_or(ANSWER_TOKENS, |n| usize::try_from(n).unwrap_or(usize::MAX)),
        );
        let (answer, fingerprint) = chat::answer(&self.0, request).await?;
        Ok(json!({"answer": answer, "system_fingerprint": fingerprint}))
    }

    async fn list_knowledge(&self, arguments: JsonObject) -> Result<Value, Problem> {
        let only = given(&arguments, "adapter").map(|name| AliasName::parse(text(Some(name))));
        let only = only.transpose()?;
        let list = move |state: &AppState| -> Result<Value, Problem> {
            let adapters = match &only {
                Some(alias) => vec![state.registry.get(alias)?],
                None => state.registry.list(None, LISTED)?.items,
            };
            let mut listed = Vec::new();
            let mut lines = Lines::new(&state.store);
            for adapter in adapters {
                let filter = DocumentFilter {
                    alias: Some(&adapter.name),
                    ..Default::default()
                };
                let documents = state.store.documents().list(filter, None, LISTED)?.items;
                let documents = documents.into_iter().map(|d| {
                    let live = lines.is_live(&d.alias, d.state, d.version)?;
                    Ok(json!({"title": d.title, "state": d.state, "live": live}))
                });
                let documents: Vec<Value> = documents.collect::<Result<_, Problem>>()?;
                listed.push(
                    json!({"adapter": adapter.name, "live_version": adapter.live,
                    "versions": adapter.versions, "documents": documents}),
                );
            }
            let mut running = Vec::new();
            for job_state in [JobState::Running, JobState::Queued] {
                let filter = JobFilter {
                    alias: only.as_ref().map(AliasName::as_str),
                    state: Some(job_state),
                };
                let jobs = state.jobs.list(filter, None, LISTED)?.items;
                running.extend(jobs.into_iter().map(|job| {
                    json!({"job": job.id, "kind": job.kind, "adapter": job.alias,
                        "state": job.state, "fraction": job.progress.fraction})
                }));
            }
            Ok(json!({"base": state.registry.base_id(), "adapters": listed, "jobs": running}))
        };
        self.0.blocking(list).await
    }

    async fn rollback(&self, arguments: JsonObject) -> Result<Value, Problem> {
        let name = arguments.get("adapter").and_then(Value::as_str);
        let alias = AliasName::parse(name.unwrap_or_default())?;
        let version = arguments.get("version").and_then(Value::as_u64);
        let version = version.unwrap_or_default();
        let back = move |state: &AppState| state.registry.rollback(&alias, version, None);
        let alias = self.0.blocking(back).await?;
        Ok(json!({"adapter": alias.name, "live_version": alias.live}))
    }

    /// Submits a job and waits for its end ([`Tools::ended`]).
    async fn finished(
        &self,
        submit: impl FnOnce(&Services) -> Result<Job, Refusal> + Send + 'static,
        reporter: &mut Reporter,
    ) -> Result<Job, Problem> {
        let job = self.0.submit_and_wait(submit, None).await?;
        self.ended(job, reporter).await
    }

    /// Waits for the job's end, but at most [`PATIENCE`], and returns the job. Meanwhile the caller is told how far the
    /// job is.
    async fn ended(&self, mut job: Job, reporter: &mut Reporter) -> Result<Job, Problem> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            reporter.job(&job).await;
            let left = deadline.saturating_duration_since(Instant::now());
            if job.state.is_terminal() || left.is_zero() {
                return Ok(job);
            }
            job = self.0.jobs.wait(&job.id, left.min(reporter.every)).await?;
        }
    }
}

/// The tool's arguments as a request to adapt. If the alias to keep exists, it is trained further.
fn adapt_request(arguments: &JsonObject) -> Result<Adapt, Refusal> {
    let string = |name: &str| {
        given(arguments, name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let kind = given(arguments, "kind").cloned();
    let kind = kind.map_or(Ok(TaskKind::Text), |kind| fields::at("kind", kind))?;
    let grids = matches!(kind, TaskKind::Grid);
    let list = |name: &str| {
        let list = given(arguments, name).and_then(Value::as_array);
        list.into_iter().flatten()
    };
    let read = |value: &Value| match grids {
        true => grid(value),
        false => value.clone(),
    };
    let example = |example: &Value| match example {
        Value::Object(sides) => sides.iter().map(|(k, v)| (k.clone(), read(v))).collect(),
        other => other.clone(),
    };
    let seconds = given(arguments, "seconds").and_then(Value::as_f64);
    let request = AdaptRequest {
        adapter: string("adapter"),
        task: TaskBody {
            kind,
            train: list("examples").map(example).collect(),
            test: list("inputs").map(|i| json!({"input": read(i)})).collect(),
        },
        self_edit: None,
        budget: Some(Budget {
            seconds: seconds.map(|s| s as f32),
            candidates: None,
        }),
        keep: Some(Keep {
            alias: string("keep_as"),
            ttl: None,
        }),
        seed: None,
    };
    let names = [
        ("task.train", "examples"),
        ("task.test", "inputs"),
        ("budget.seconds", "seconds"),
        ("keep.alias", "keep_as"),
    ];
    let adapt = request.check().map_err(|r| renamed(r, &names))?;
    Ok(Adapt {
        continue_kept: true,
        ..adapt
    })
}

/// A grid as the schema wants it, in a text of JSON, or as it is.
fn grid(value: &Value) -> Value {
    let parsed = value
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok());
    parsed.unwrap_or_else(|| value.clone())
}

/// An argument that is present and not null.
fn given<'a>(arguments: &'a JsonObject, name: &str) -> Option<&'a Value> {
    arguments.get(name).filter(|value| !value.is_null())
}

/// The text of an argument. `ToolKind::check` has checked that it is a string.
fn text(argument: Option<&Value>) -> &str {
    argument.and_then(Value::as_str).unwrap_or_default()
}

/// The answer about a job without a result: the job is still running, or it failed.
fn unfinished(job: &Job) -> Result<Value, Problem> {
    match &job.error {
        Some(error) => {
            let detail = format!("The job failed: {}.", error.message.trim_end_matches('.'));
            Err(Problem::bad_request("job_failed", detail))
        }
        None => Ok(
            json!({"adapter": job.alias, "job": job.id, "state": job.state,
            "note": "see list_knowledge for how far it is"}),
        ),
    }
}

/// Replaces the request's field names in a refusal by the tool's argument names.
fn renamed(mut refusal: Refusal, names: &[(&str, &str)]) -> Refusal {
    for (theirs, ours) in names {
        refusal.detail = refusal.detail.replace(theirs, ours);
        refusal.field = refusal.field.map(|field| field.replace(theirs, ours));
    }
    refusal
}
