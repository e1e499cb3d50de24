//! `autodidact serve`: starts the model, the store, the workers and the HTTP server.

use super::settings::{Settings, env};
use super::text_models::TextModels;
use autodidact::adapters::Registry;
use autodidact::config::{Config, ExecutorKind, Overrides};
use autodidact::http;
use autodidact::http::{AppState, Startup};
use autodidact::jobs::{Handlers, Jobs, Runner, prune_daily};
use autodidact::learn::options::precedence::SettingsStack;
use autodidact::learn::ports::model::Model;
use autodidact::models::Models;
use autodidact::pool::{LocalModel, Remembering, open_engine};
use autodidact::store::{JobKind, Store};
use autodidact::workflows::adapt::expiry::expire_adapters;
use autodidact::workflows::adapt::run::AdaptHandler;
use autodidact::workflows::ingest::run::IngestHandler;
use autodidact::workflows::train::run::TrainHandler;
use autodidact::workflows::unlearn::run::UnlearnHandler;
use autodidact_engine::scheduler::{Engine, EngineOptions, Priority};
use clap::Args;
use serde_json::Value;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinError;
use tracing_subscriber::EnvFilter;

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    overrides: Overrides,
}

impl Serve {
    pub fn run(self) -> Result<(), String> {
        let clock = Instant::now();
        let config = self.settings.load(self.overrides)?;
        config.check_exposure().map_err(|e| e.to_string())?;
        tracing_subscriber::fmt()
            .with_env_filter(
                EnvFilter::try_from_env("AUTODIDACT_LOG").unwrap_or_else(|_| "info".into()),
            )
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .init();
        let runtime = tokio::runtime::Runtime::new()
            .map_err(|e| format!("cannot start the server's threads: {e}"))?;
        let served = runtime.block_on(serve(config, clock));
        // A running download does not delay the shutdown.
        runtime.shutdown_background();
        served
    }
}

async fn serve(config: Config, clock: Instant) -> Result<(), String> {
    // The address and the data directory come first, because they can fail at once. The model takes seconds, or
    // minutes with a download.
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|e| format!("cannot listen on {}: {e}", config.listen))?;
    let address = listener.local_addr().map_err(|e| e.to_string())?;
    let store = Store::open(&config.data).map_err(|e| e.to_string())?;
    let models = Models::open(&config, env).map_err(|e| e.to_string())?;
    let base_id = models.id(&config.model);

    let startup = Startup::default();
    let mut serving = tokio::spawn(http::serve(listener, startup.clone(), stop_signal()));
    tracing::info!("listening on http://{address}; {base_id} is fetched or loaded first");
    let opening = tokio::task::spawn_blocking(move || rooms(config, store, models));
    let (state, runner) = tokio::select! {
        opened = opening => opened.map_err(|e| e.to_string())??,
        // Stopped before the server was ready. Unfinished work is left as after a kill.
        served = &mut serving => return ended(served),
    };
    tokio::spawn(prune_daily(state.jobs.clone(), state.config.jobs.keep_days));
    tokio::spawn(expire_adapters(state.registry.clone()));
    startup.ready(state);
    println!(
        "autodidact serves {base_id} on http://{address} (ready in {:.1} s; console at /, API at /docs)",
        clock.elapsed().as_secs_f32()
    );

    let served = serving.await;
    // Running jobs stop at their next check and are resumed at the next start.
    tokio::task::spawn_blocking(move || runner.shutdown())
        .await
        .map_err(|e| e.to_string())?;
    ended(served)
}

fn ended(served: Result<io::Result<()>, JoinError>) -> Result<(), String> {
    let served = served.map_err(|e| e.to_string())?;
    served.map_err(|e| format!("the server stopped: {e}"))
}

/// Builds the state behind HTTP and starts the workers. Blocks while the model is fetched and loaded.
fn rooms(config: Config, store: Store, models: Models) -> Result<(AppState, Runner), String> {
    let engine = open(&config, &models)?;
    let jobs = Jobs::new(store.clone(), config.limits.queue);
    let model = engine.files().config.clone();
    let digest = engine.files().digest.clone();
    let base_id = models.id(&config.model);
    let registry = Arc::new(Registry::new(store, model, base_id, digest));
    let learning = learning(&config, &models)?;
    let learner = LocalModel::new(engine.clone(), Priority::Ingest);
    let remembering = Arc::new(Remembering::new(learner.clone()));
    let mut practice = practice(&config, &models, &engine)?.into_iter();
    let first = practice.next().ok_or("nothing practises")?;
    let adapt = AdaptHandler::new(Arc::new(learner), registry.clone(), engine.window());
    let helpers = TextModels::new(config.clone(), models, Some(engine.clone())).helpers()?;
    let unlearn = UnlearnHandler::new(remembering.clone(), registry.clone(), learning.clone())
        .with_helpers(helpers.clone());
    let ingest = IngestHandler::new(remembering, registry.clone(), learning.clone())
        .with_helpers(helpers)
        .map_err(|e| e.to_string())?;
    let train = TrainHandler::new(
        first,
        practice.collect(),
        registry.clone(),
        learning.clone(),
    );
    let handlers = Handlers::from([
        (JobKind::Ingest, Arc::new(ingest) as _),
        (JobKind::Train, Arc::new(train) as _),
        (JobKind::Adapt, Arc::new(adapt) as _),
        (JobKind::Unlearn, Arc::new(unlearn) as _),
    ]);
    let workers = config.jobs.workers;
    let state = AppState::new(Arc::new(config), engine, jobs, registry, learning)?;
    let runner = Runner::start(&state.jobs, handlers, workers).map_err(|e| e.to_string())?;
    Ok((state, runner))
}

/// The learning settings that a request or a command may override: the model's tuned settings, then the configuration.
pub fn learning(config: &Config, models: &Models) -> Result<SettingsStack, String> {
    let tuned = Value::Object(models.learning(&config.model));
    let configured = Value::Object(config.learning.clone());
    SettingsStack::new(vec![tuned, configured]).map_err(|e| e.to_string())
}

/// The handler for training jobs. It uses the devices of the pool, or else the serving engine.
fn practice(
    config: &Config,
    models: &Models,
    serving: &Engine,
) -> Result<Vec<Arc<dyn Model>>, String> {
    let model = |engine| Arc::new(LocalModel::new(engine, Priority::Outer)) as Arc<dyn Model>;
    if config.pool.devices.is_empty() {
        return Ok(vec![model(serving.clone())]);
    }
    let open = |device: &ExecutorKind| {
        let config = Config {
            executor: *device,
            ..config.clone()
        };
        open(&config, models).map(model)
    };
    config.pool.devices.iter().map(open).collect()
}

/// Opens the configured model. It is fetched if it is not here yet.
pub fn open(config: &Config, models: &Models) -> Result<Engine, String> {
    let path = locate(config, models)?;
    let options = EngineOptions {
        max_waiting: config.limits.requests_waiting,
        window: Some(config.limits.window),
        kv_budget_tokens: config.limits.kv_tokens,
        ..Default::default()
    };
    open_engine(&path, config.executor, config.threads, options).map_err(|e| e.to_string())
}

/// Path of the configured model. Also sets the number of threads of this process.
pub fn locate(config: &Config, models: &Models) -> Result<PathBuf, String> {
    let path = models.ensure(&config.model).map_err(|e| e.to_string())?;
    if let Some(threads) = config.threads {
        // The executor has its own thread pool. Sampling, the optimizer and reading weights use rayon's global pool,
        // which takes every core by default. An existing global pool stays.
        let global = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let _ = global.build_global();
    }
    Ok(path)
}

/// A future that is ready on a stop signal. From this call on the signal no longer kills the process.
fn stop_signal() -> impl Future<Output = ()> {
    let on = |kind| signal(kind).expect("the system takes signal handlers");
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt()), on(SignalKind::terminate()));
    async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping; unfinished jobs go on at the next start");
    }
}
