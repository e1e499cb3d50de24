//! A whole server in this process, with the tiny random model, a temporary data directory and a free port.

use autodidact::adapters::Registry;
use autodidact::config::Config;
use autodidact::http::{AppState, serve};
use autodidact::jobs::{Handler, Handlers, JobContext, JobFailure, Jobs, Runner};
use autodidact::learn::options::precedence::SettingsStack;
use autodidact::pool::LocalModel;
use autodidact::store::{DocumentState, JobKind, Store};
use autodidact::workflows::adapt::run::AdaptHandler;
use autodidact::workflows::train::run::TrainHandler;
use autodidact_engine::cpu::{Cpu, CpuOptions, Precision};
use autodidact_engine::lora::peft::{self, PeftFiles};
use autodidact_engine::{
    Engine, EngineOptions, Family, Lora, LoraConfig, ModelFiles, Priority, tiny,
};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// The base model's id in tests.
pub const BASE: &str = "tiny";

/// Time to wait for a condition before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Server {
    /// `http://127.0.0.1:port`
    pub url: String,
    pub client: Client,
    pub state: AppState,
    /// Jobs run while this is open.
    pub gate: Arc<Gate>,
    _runner: Runner,
    _directory: TempDir,
}

/// Holds the test handler's jobs until it is opened.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    moved: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.moved.notify_all();
    }

    pub fn close(&self) {
        *self.open.lock().unwrap() = false;
    }

    /// Waits until the gate opens, or until `check` asks to stop.
    fn pass(&self, cx: &JobContext) -> Result<(), JobFailure> {
        let mut open = self.open.lock().unwrap();
        loop {
            cx.check()?;
            if *open {
                return Ok(());
            }
            let tick = Duration::from_millis(2);
            open = self.moved.wait_timeout(open, tick).unwrap().0;
        }
    }
}

/// A handler in place of learning: it marks every document learned at once, without a model.
struct Scripted(Arc<Gate>);

impl Handler for Scripted {
    fn run(&self, cx: &JobContext, input: Value) -> Result<Value, JobFailure> {
        cx.progress("learning", 0.5, "half-way")?;
        let mut documents = Vec::new();
        for id in input["documents"].as_array().into_iter().flatten() {
            let id = id.as_str().unwrap_or_default();
            self.0.pass(cx)?;
            cx.store()
                .documents()
                .set_state(id, DocumentState::Learned, Some(1))?;
            cx.event("document", json!({"document_id": id, "state": "learned"}))?;
            documents.push(json!({"id": id, "state": "learned", "version": 1}));
        }
        Ok(json!({"documents": documents, "live_version": 1, "input": input}))
    }
}

impl Server {
    pub async fn start() -> Server {
        Server::with(|_| {}).await
    }

    /// A server with these learning settings in its configuration.
    pub async fn learning(settings: Value) -> Server {
        let settings = settings.as_object().unwrap().clone();
        Server::with(|config| config.learning = settings).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Server {
        Server::of(change, None, |_| {}).await
    }

    /// A server of the tiny model with a context window of so many tokens.
    pub async fn with_window(tokens: usize) -> Server {
        let widen = |config: &mut Value| config["max_position_embeddings"] = tokens.into();
        Server::of(|_| {}, None, widen).await
    }

    /// A server over the files of another model than the tiny one.
    pub async fn over(model: Option<&Path>, change: impl FnOnce(&mut Config)) -> Server {
        Server::of(change, model, |_| {}).await
    }

    /// `alter` changes the tiny model's `config.json`; `model` stands in its place.
    async fn of(
        change: impl FnOnce(&mut Config),
        model: Option<&Path>,
        alter: impl FnOnce(&mut Value),
    ) -> Server {
        let directory = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = Config {
            listen: address,
            data: directory.path().join("data"),
            ..Config::default()
        };
        change(&mut config);

        let own = directory.path().join("model");
        if model.is_none() {
            tiny::write_tiny(&own, Family::Llama, 1).unwrap();
            let about = own.join("config.json");
            let mut shape = serde_json::from_slice(&std::fs::read(&about).unwrap()).unwrap();
            alter(&mut shape);
            std::fs::write(&about, shape.to_string()).unwrap();
        }
        let files = Arc::new(ModelFiles::open(model.unwrap_or(&own)).unwrap());
        let options = CpuOptions {
            threads: 1,
            precision: Precision::F32,
        };
        let executor = Cpu::new(&files, options).unwrap();
        let options = EngineOptions {
            max_waiting: config.limits.requests_waiting,
            ..EngineOptions::default()
        };
        let engine = Engine::start(files, Box::new(executor), options);

        let store = Store::open(&config.data).unwrap();
        let jobs = Jobs::new(store.clone(), config.limits.queue);
        let model = engine.files().config.clone();
        let digest = engine.files().digest.clone();
        let registry = Arc::new(Registry::new(store, model, BASE, digest));
        let gate = Arc::new(Gate::default());
        gate.open();
        let handler: Arc<dyn Handler> = Arc::new(Scripted(gate.clone()));
        let learner = Arc::new(LocalModel::new(engine.clone(), Priority::Ingest));
        let adapt = AdaptHandler::new(learner, registry.clone(), engine.window());
        let practice = LocalModel::new(engine.clone(), Priority::Outer);
        let learning = SettingsStack::new(vec![Value::Object(config.learning.clone())]).unwrap();
        let practice = Arc::new(practice);
        let train = TrainHandler::new(practice, Vec::new(), registry.clone(), learning.clone());
        let handlers = Handlers::from([
            (JobKind::Ingest, handler),
            (JobKind::Train, Arc::new(train) as Arc<dyn Handler>),
            (JobKind::Adapt, Arc::new(adapt) as Arc<dyn Handler>),
        ]);
        let runner = Runner::start(&jobs, handlers, config.jobs.workers).unwrap();
        let mut state = AppState::new(Arc::new(config), engine, jobs, registry, learning).unwrap();
        // So short that the tests meet it.
        state.heartbeat = Duration::from_millis(20);
        tokio::spawn(serve(
            listener,
            state.clone().into(),
            std::future::pending(),
        ));
        Server {
            url: format!("http://{address}"),
            client: Client::new(),
            state,
            gate,
            _runner: runner,
            _directory: directory,
        }
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }

    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(format!("{}{path}", self.url))
    }

    /// A chat of one question, tokens to the limit.
    pub async fn chat(&self, model: &str, more: Value) -> Response {
        let mut body = json!({"model": model, "max_tokens": 12, "ignore_eos": true,
            "messages": [{"role": "user", "content": "Who runs the lighthouse?"}]});
        merge(&mut body, more);
        let request = self.post("/v1/chat/completions").json(&body);
        request.send().await.unwrap()
    }

    /// The text of the first choice of such a chat, greedily.
    pub async fn says(&self, model: &str) -> String {
        let answer = self.chat(model, json!({"temperature": 0})).await;
        assert_eq!(answer.status(), 200, "{model}");
        let answer: Value = answer.json().await.unwrap();
        let text = answer["choices"][0]["message"]["content"].as_str();
        text.unwrap().to_owned()
    }

    pub async fn upload(&self, name: &str, seed: u64) -> Value {
        let answer = self.post_archive(&format!("/adapters?name={name}"), archive(&adapter(seed)));
        let answer = answer.send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json().await.unwrap()
    }

    pub fn post_archive(&self, path: &str, body: Vec<u8>) -> RequestBuilder {
        let request = self.post(path).header("content-type", "application/x-tar");
        request.body(body)
    }

    /// An ingest of documents with these titles.
    pub fn ingest(&self, adapter: &str, titles: &[&str]) -> RequestBuilder {
        let documents: Vec<Value> = titles
            .iter()
            .map(|title| json!({"title": title, "text": "The lighthouse is run by Ada."}))
            .collect();
        let body = json!({"adapter": adapter, "documents": documents});
        self.post("/ingest").json(&body)
    }
}

/// Files of a random adapter for the tiny model.
pub fn adapter(seed: u64) -> PeftFiles {
    let config = tiny::tiny_config(Family::Llama);
    let lora = Lora::random(LoraConfig::all_linear(4, 16.0), &config, seed);
    peft::to_files(&lora, BASE)
}

pub fn archive(files: &PeftFiles) -> Vec<u8> {
    tar_of(&[
        ("adapter_config.json", &files.config_json),
        ("adapter_model.safetensors", &files.safetensors),
    ])
}

pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Waits until the condition holds; fails with `what` if it never does.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never saw {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The answer's status and JSON.
pub async fn json_of(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let value = serde_json::from_str(&text);
    (status, value.unwrap_or_else(|e| panic!("{e}: {text}")))
}

pub fn merge(body: &mut Value, more: Value) {
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
}
