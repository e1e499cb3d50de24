//! `bench swap`: the time until a published version answers, and a check that a move of the alias never breaks an
//! answer.
//!
//! The server runs in this process, on a loopback port with a fresh data directory. A few clients stream answers from
//! one alias without a pause. Meanwhile versions are published by upload and by rollback, in turn. After each publish
//! the benchmark sends requests at once and measures the time until an answer names the new version. At the end,
//! without load, it asks every version by number. Each answer under load must equal, letter for letter, the answer of
//! its version without load.

use super::machine::Machine;
use super::report::{Figure, percentile, print, progress};
use super::workload::adapter;
use super::{Common, USUAL_REPEATS};
use crate::cli::client::Client;
use crate::cli::open::OpenedEngine;
use autodidact::adapters::Registry;
use autodidact::config::{Auth, Config};
use autodidact::http;
use autodidact::http::AppState;
use autodidact::jobs::Jobs;
use autodidact::learn::options::precedence::SettingsStack;
use autodidact::store::Store;
use autodidact_engine::lora::peft::{self, CONFIG_FILE, WEIGHTS_FILE};
use autodidact_engine::{Engine, ModelConfig};
use clap::Args;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

#[derive(Debug, Args)]
pub struct SwapBench {
    #[command(flatten)]
    common: Common,
    /// Number of clients that stream all the time
    #[arg(long, value_name = "N", default_value = "4")]
    clients: NonZeroUsize,
}

const ALIAS: &str = "swapped";
const RANK: usize = 8;
/// Uploads, and as many rollbacks, in one repeat.
const UPLOADS: usize = 4;
const ANSWER_TOKENS: usize = 24;
/// Most requests to wait for a new version. After them the benchmark fails.
const PATIENCE: usize = 1000;

impl SwapBench {
    pub fn run(self) -> Result<(), String> {
        let (repeats, json) = (self.common.repeats(USUAL_REPEATS), self.common.json);
        let OpenedEngine { id, engine, config } = self.common.model.engine()?;
        let machine = Machine::measure(&id, &config);
        let data = Directory::temporary();
        let model = engine.files().config.clone();
        let server = Server::start(&id, engine, config, &data.0)?;
        let publisher = Publisher {
            client: &server.client,
            model,
            base: id,
        };
        let figure = measure(&publisher, self.clients.get(), UPLOADS * repeats)?;
        print(&machine, &[figure], json)
    }
}

fn measure(publisher: &Publisher, clients: usize, uploads: usize) -> Result<Figure, String> {
    // Begin with two versions, because a rollback needs an earlier one.
    publisher.upload(0)?;
    publisher.upload(1)?;
    let stop = AtomicBool::new(false);
    let (load, swaps) = std::thread::scope(|scope| {
        let (started, running) = channel();
        let load: Vec<_> = (0..clients)
            .map(|_| {
                let (started, stop) = (started.clone(), &stop);
                scope.spawn(move || stream_until(publisher.client, stop, &started))
            })
            .collect();
        running.iter().take(clients).for_each(drop);
        progress(&format!("{uploads} uploads and as many rollbacks"));
        let swaps: Result<Vec<Swap>, String> =
            (0..2 * uploads).map(|nth| publisher.swap(nth)).collect();
        stop.store(true, Ordering::Relaxed);
        let load = load.into_iter().map(|t| t.join().unwrap_or_default());
        (load.collect::<Vec<Load>>(), swaps)
    });
    let swaps = swaps?;
    progress("what each version says alone");
    let alone = publisher.alone(uploads + 2)?;
    let answers = load.iter().flat_map(|l| &l.answers);
    let answers = answers.chain(swaps.iter().flat_map(|s| &s.answers));
    let mixed = |a: &&Answer| alone.get(&a.fingerprint) != Some(&a.text);
    let failures: Vec<&String> = load.iter().flat_map(|l| &l.failures).collect();
    for failure in failures.iter().take(3) {
        eprintln!("failed: {failure}");
    }
    let column = |of: fn(&Swap) -> Duration| {
        let times = swaps.iter().map(of);
        times.map(|t| t.as_secs_f64() * 1e3).collect::<Vec<f64>>()
    };
    let (visible, first_token) = (column(|s| s.visible), column(|s| s.first_token));
    let shape =
        format!("{clients} streaming clients, {uploads} uploads and as many rollbacks, r {RANK}");
    Ok(Figure::new("swap", shape)
        .measured("p50_ms", &visible)
        .with("p95_ms", percentile(&visible, 0.95))
        .with("first_token_p50_ms", percentile(&first_token, 0.5))
        .with("first_token_p95_ms", percentile(&first_token, 0.95))
        .with("publish_p50_ms", percentile(&column(|s| s.publish), 0.5))
        .with("answers", answers.clone().count())
        .with("failed", failures.len())
        .with("mixed", answers.filter(mixed).count())
        .with(
            "stale",
            swaps.iter().map(|s| s.answers.len() - 1).sum::<usize>(),
        ))
}

/// One move of the alias, as a client sees it.
struct Swap {
    /// Time of the call.
    publish: Duration,
    /// Time from the call's return to the first chunk that names the new version, and to that answer's first token.
    visible: Duration,
    first_token: Duration,
    /// The answers until then. All but the last still named an older version.
    answers: Vec<Answer>,
}

struct Publisher<'a> {
    client: &'a Client,
    model: ModelConfig,
    base: String,
}

impl Publisher<'_> {
    /// Uploads a new version, or rolls back by one.
    fn swap(&self, nth: usize) -> Result<Swap, String> {
        let uploaded = 2 + nth.div_ceil(2);
        let archive = nth.is_multiple_of(2).then(|| self.archive(uploaded));
        let start = Instant::now();
        let published = match archive {
            Some(archive) => self.send(archive?)?,
            None => {
                let body = json!({"version": uploaded - 1});
                let path = format!("/adapters/{ALIAS}/rollback");
                self.client.post(&path, &body)?
            }
        };
        let returned = Instant::now();
        let wanted = fingerprint(&published)?;
        let mut answers: Vec<Answer> = Vec::new();
        while answers.last().is_none_or(|a| a.fingerprint != wanted) {
            if answers.len() == PATIENCE {
                return Err(format!("{wanted} was published and never seen"));
            }
            answers.push(ask(self.client, ALIAS)?);
        }
        let seen = &answers[answers.len() - 1];
        Ok(Swap {
            publish: returned - start,
            visible: seen.named - returned,
            first_token: seen.first_token - returned,
            answers,
        })
    }

    fn upload(&self, seed: usize) -> Result<Value, String> {
        self.send(self.archive(seed)?)
    }

    fn send(&self, archive: Vec<u8>) -> Result<Value, String> {
        let path = format!("/adapters?name={ALIAS}");
        self.client.post_bytes(&path, "application/x-tar", &archive)
    }

    /// A random adapter in PEFT files.
    fn archive(&self, seed: usize) -> Result<Vec<u8>, String> {
        let files = peft::to_files(&adapter(&self.model, RANK, seed as u64), &self.base);
        let mut archive = tar::Builder::new(Vec::new());
        for (name, bytes) in [
            (CONFIG_FILE, files.config_json),
            (WEIGHTS_FILE, files.safetensors),
        ] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            let added = archive.append_data(&mut header, name, bytes.as_slice());
            added.map_err(|e| e.to_string())?;
        }
        archive.into_inner().map_err(|e| e.to_string())
    }

    /// The answer of each version without load, by fingerprint.
    fn alone(&self, versions: usize) -> Result<HashMap<String, String>, String> {
        let answer = |n| ask(self.client, &format!("{ALIAS}@{n}"));
        let answers = (1..=versions).map(answer);
        answers
            .map(|a| a.map(|a| (a.fingerprint, a.text)))
            .collect()
    }
}

/// The fingerprint that answers show for this published version.
fn fingerprint(published: &Value) -> Result<String, String> {
    let digest = published["digest"]
        .as_str()
        .and_then(|d| d.strip_prefix("sha256:"));
    let short = digest.and_then(|hex| hex.get(..12));
    short
        .map(|hex| format!("lora-{hex}"))
        .ok_or_else(|| format!("publishing answered without a digest: {published}"))
}

/// The observations of one client.
#[derive(Default)]
struct Load {
    answers: Vec<Answer>,
    failures: Vec<String>,
}

fn stream_until(client: &Client, stop: &AtomicBool, started: &Sender<()>) -> Load {
    let mut load = Load::default();
    while !stop.load(Ordering::Relaxed) {
        match ask(client, ALIAS) {
            Ok(answer) => load.answers.push(answer),
            Err(failure) => load.failures.push(failure),
        }
        // Only the first answer has a receiver.
        let _ = started.send(());
    }
    load
}

struct Answer {
    /// Fingerprint of the chunks. If they differ, all fingerprints joined.
    fingerprint: String,
    text: String,
    named: Instant,
    first_token: Instant,
}

/// One streamed answer, greedy.
fn ask(client: &Client, model: &str) -> Result<Answer, String> {
    let body = json!({"model": model, "stream": true, "temperature": 0, "max_tokens": ANSWER_TOKENS,
        "ignore_eos": true, "messages": [{"role": "user", "content": "Who keeps the lighthouse?"}]});
    let (mut fingerprints, mut text) = (Vec::<String>::new(), String::new());
    let (mut named, mut first_token) = (None, None);
    client.stream("/v1/chat/completions", &body, |chunk| {
        let now = Instant::now();
        let fingerprint = chunk["system_fingerprint"].as_str().unwrap_or_default();
        if !fingerprints.iter().any(|f| f == fingerprint) {
            fingerprints.push(fingerprint.to_owned());
        }
        named.get_or_insert(now);
        let piece = chunk["choices"][0]["delta"]["content"].as_str();
        if let Some(piece) = piece.filter(|p| !p.is_empty()) {
            first_token.get_or_insert(now);
            text.push_str(piece);
        }
    })?;
    Ok(Answer {
        fingerprint: fingerprints.join("+"),
        text,
        named: named.ok_or("the answer names no version")?,
        first_token: first_token.ok_or("the answer is empty")?,
    })
}

struct Server {
    client: Client,
    _runtime: Runtime,
}

impl Server {
    fn start(id: &str, engine: Engine, config: Config, data: &Path) -> Result<Self, String> {
        let mut config = Config {
            data: data.to_owned(),
            // Keys and small limits would change the measurement.
            auth: Auth::default(),
            ..config
        };
        config.limits.body_bytes = 1 << 30;
        let runtime = Runtime::new().map_err(|e| e.to_string())?;
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = runtime.block_on(TcpListener::bind(local));
        let listener = listener.map_err(|e| format!("no free port: {e}"))?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        let store = Store::open(data).map_err(|e| e.to_string())?;
        let jobs = Jobs::new(store.clone(), config.limits.queue);
        let (model, digest) = (engine.files().config.clone(), engine.files().digest.clone());
        let registry = Arc::new(Registry::new(store, model, id, digest));
        let state = AppState::new(
            Arc::new(config),
            engine,
            jobs,
            registry,
            SettingsStack::default(),
        )?;
        runtime.spawn(http::serve(listener, state.into(), std::future::pending()));
        Ok(Server {
            client: Client::new(format!("http://{address}")),
            _runtime: runtime,
        })
    }
}

/// A temporary directory, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn temporary() -> Self {
        let name = format!("autodidact-bench-{}", std::process::id());
        Directory(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A directory that cannot be removed must not lose the figures.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
