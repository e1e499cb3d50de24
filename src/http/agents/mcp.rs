//! `/mcp`: the Model Context Protocol (streamable HTTP), so that an agent framework uses this server with no
//! glue. Five tools; each is a request of the interface in other words, checked and answered by the same
//! code. Stateless: whatever a call needs is in it.

use super::tools::TOOLS;
use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::state::AppState;
use crate::http::learning::{adapt, adapt_body, ingest, ingest_body};
use crate::http::openai::chat;
use crate::store::{DocumentFilter, Job, JobFilter, JobState};
use axum::http::{HeaderMap, HeaderValue, header};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a call waits for its job; what takes longer goes on, and is seen in `list_knowledge`.
const PATIENCE: Duration = Duration::from_secs(600);
/// Tokens of an answer unless asked for more.
const ANSWER_TOKENS: usize = 256;
/// What is listed of each kind.
const LISTED: usize = 100;

/// Who may call was decided by the layers around; the service's own checks of hosts would only repeat them.
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
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = TOOLS.iter().find(|tool| tool.name == request.name) else {
            let message = format!("There is no tool '{}'.", request.name);
            return Err(ErrorData::invalid_params(message, None));
        };
        let arguments = request.arguments.unwrap_or_default();
        let answer = match tool.check(&arguments) {
            Err(problem) => Err(problem),
            Ok(()) => match tool.name {
                "learn_document" => self.learn_document(arguments).await,
                "adapt_from_examples" => self.adapt_from_examples(arguments).await,
                "ask" => self.ask(arguments).await,
                "list_knowledge" => self.list_knowledge().await,
                _ => self.rollback(arguments).await,
            },
        };
        // What went wrong is told to the model, which may do better, and not to its framework.
        let result = match answer {
            Ok(value) => CallToolResult::success(vec![ContentBlock::text(value.to_string())]),
            Err(problem) => CallToolResult::error(vec![ContentBlock::text(problem.detail)]),
        };
        Ok(result.into())
    }
}

impl Tools {
    async fn learn_document(&self, mut arguments: JsonObject) -> Result<Value, Problem> {
        let adapter = arguments.remove("adapter");
        let body = json!({"adapter": adapter, "documents": [arguments]}).to_string();
        let most = self.0.config.limits.documents_per_request;
        let submit = move |state: &AppState| {
            let mut headers = HeaderMap::new();
            let kind = HeaderValue::from_static("application/json");
            headers.insert(header::CONTENT_TYPE, kind);
            let query = ingest_body::IngestQuery::default();
            let ingest = ingest_body::read(&headers, &query, body.as_bytes(), most);
            let ingest = ingest.map_err(|p| renamed(p, &[("documents[0].", "")]))?;
            ingest::submit(state, &ingest, None)
        };
        let job = self.0.blocking(submit).await?;
        let job = self.finished(job).await?;
        let adapter = job.alias.clone();
        Ok(match &job.result {
            Some(result) => json!({"adapter": adapter, "document": result["documents"][0]}),
            None => unfinished(&job)?,
        })
    }

    async fn adapt_from_examples(&self, arguments: JsonObject) -> Result<Value, Problem> {
        let submit = move |state: &AppState| {
            let body = adapt_request(state, &arguments)?;
            let names = [("task.train", "examples"), ("task.test", "inputs")];
            let adapt = adapt_body::read(body.to_string().as_bytes());
            let adapt = adapt.map_err(|p| renamed(p, &names))?;
            adapt::submit(state, adapt, None)
        };
        let job = self.0.blocking(submit).await?;
        let job = self.finished(job).await?;
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
        let text = |name: &str| arguments.get(name).filter(|v| !v.is_null());
        let mut messages = Vec::new();
        if let Some(system) = text("system") {
            messages.push(json!({"role": "system", "content": system}));
        }
        messages.push(json!({"role": "user", "content": text("question")}));
        let base = Value::from(self.0.registry.base_id());
        let body = json!({
            "model": text("adapter").unwrap_or(&base),
            "messages": messages,
            "temperature": 0,
            "max_tokens": text("max_tokens").unwrap_or(&ANSWER_TOKENS.into()),
        });
        let Value::Object(body) = body else {
            return Err(Problem::internal("an object is an object"));
        };
        let (answer, fingerprint) = chat::answer(&self.0, body).await?;
        Ok(json!({"answer": answer, "system_fingerprint": fingerprint}))
    }

    async fn list_knowledge(&self) -> Result<Value, Problem> {
        let list = |state: &AppState| -> Result<Value, Problem> {
            let adapters = state.registry.list(None, LISTED)?.items;
            let mut listed = Vec::new();
            for adapter in adapters {
                let filter = DocumentFilter {
                    alias: Some(&adapter.name),
                    ..Default::default()
                };
                let documents = state.store.documents().list(filter, None, LISTED)?.items;
                let documents: Vec<Value> = (documents.iter())
                    .map(|d| json!({"title": d.title, "state": d.state}))
                    .collect();
                listed.push(
                    json!({"adapter": adapter.name, "live_version": adapter.live,
                    "versions": adapter.versions, "documents": documents}),
                );
            }
            let mut running = Vec::new();
            for job_state in [JobState::Running, JobState::Queued] {
                let filter = JobFilter {
                    state: Some(job_state),
                    ..Default::default()
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

    async fn finished(&self, job: Job) -> Result<Job, Problem> {
        Ok(self.0.jobs.wait(&job.id, PATIENCE).await?)
    }
}

/// The tool's arguments as the route takes them. An adapter that is kept is trained further if it is there.
fn adapt_request(state: &AppState, arguments: &JsonObject) -> Result<Value, Problem> {
    let given = |name: &str| arguments.get(name).filter(|v| !v.is_null()).cloned();
    let inputs = match given("inputs") {
        Some(Value::Array(inputs)) => inputs,
        _ => Vec::new(),
    };
    let test: Vec<Value> = inputs.into_iter().map(|i| json!({"input": i})).collect();
    let kind = given("kind").unwrap_or_else(|| "text".into());
    let task = json!({"kind": kind, "train": given("examples"), "test": test});
    let keep_as = given("keep_as");
    let known = match keep_as.as_ref().and_then(Value::as_str) {
        Some(name) => state.store.aliases().live_version(name)?.is_some(),
        None => false,
    };
    let adapter = given("adapter").or(keep_as.clone().filter(|_| known));
    let mut body = Map::from_iter([("task".to_owned(), task)]);
    body.extend(adapter.map(|a| ("adapter".to_owned(), a)));
    body.extend(keep_as.map(|a| ("keep".to_owned(), json!({"alias": a}))));
    body.extend(given("seconds").map(|s| ("budget".to_owned(), json!({"seconds": s}))));
    Ok(Value::Object(body))
}

/// A job without a result: still at it, or failed.
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

/// A refusal in the words of the tool's own arguments.
fn renamed(mut problem: Problem, names: &[(&str, &str)]) -> Problem {
    for (theirs, ours) in names {
        problem.detail = problem.detail.replace(theirs, ours);
        problem.field = problem.field.map(|field| field.replace(theirs, ours));
    }
    problem
}
