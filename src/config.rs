//! One typed configuration, read from three places: a TOML file, `AUTODIDACT_…` environment variables, and
//! command-line flags. A flag wins over a variable, and a variable wins over the file.
//!
//! The file is the one named by `--config` (or `AUTODIDACT_CONFIG`), else `./autodidact.toml`, else
//! `$XDG_CONFIG_HOME/autodidact/autodidact.toml`. Without a file the defaults hold; `config/autodidact.toml` lists
//! them with comments. An unknown key is an error, because a misspelt limit that silently does nothing is worse than
//! a server that does not start. Unknown *environment variables* are ignored, because container platforms set
//! variables of their own.
//!
//! The `[learning]` table is kept as untyped JSON here; `learn/options` parses it.

mod overrides;
mod text_models;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use overrides::Overrides;
pub use text_models::{KEY_ENV, TextModelConfig, UrlModel};

/// The model served by default. It is small enough for two cores and able to learn.
pub const DEFAULT_MODEL: &str = "qwen2.5-coder-0.5b-instruct";

/// All settings of the server. `config/autodidact.toml` shows the default of each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port of the HTTP server. An address other than loopback needs [`Auth::keys`].
    pub listen: SocketAddr,
    /// Directory of the database and the adapters.
    #[serde(deserialize_with = "home_path")]
    pub data: PathBuf,
    /// A name from the catalogue, or a path to a GGUF file or a Hugging Face directory.
    pub model: String,
    /// Where fetched models are kept.
    #[serde(deserialize_with = "home_path")]
    pub models_dir: PathBuf,
    /// A second catalogue. Its models are added to the built-in ones, or replace models of the same name.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_home_path"
    )]
    pub models_file: Option<PathBuf>,
    /// The implementation that computes the model.
    pub executor: ExecutorKind,
    /// Threads of the engine; one per core by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Bounds on clients' requests.
    pub limits: Limits,
    /// Keys that clients must send.
    pub auth: Auth,
    /// Background jobs.
    pub jobs: Jobs,
    /// Engines beside the serving engine.
    pub pool: Pool,
    /// Learning settings that override the model's own, as written; `learn` parses them.
    pub learning: Map<String, Value>,
    /// Files of contexts that `/train` may name. A file is a list of {title, context, questions}, or SQuAD.
    pub datasets: BTreeMap<String, PathBuf>,
    /// The model that writes self-edits when a request asks for a teacher.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "text_models::section"
    )]
    pub teacher: Option<TextModelConfig>,
    /// The model that grades answers when a request asks for a judge.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "text_models::section"
    )]
    pub judge: Option<TextModelConfig>,
}

/// The implementations that can compute the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutorKind {
    /// The best implementation for this machine, at present always `cpu`.
    #[default]
    Auto,
    /// Fused kernels on the processor.
    Cpu,
    /// Plain candle operations: slow; other implementations are tested against them.
    Reference,
}

/// Bounds on clients' requests. A request beyond a bound is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request body in bytes (else 413).
    pub body_bytes: usize,
    /// Jobs that may wait (else 429).
    pub queue: usize,
    /// Documents in one ingest request (else 422).
    pub documents_per_request: usize,
    /// Completion requests that may wait for the engine (else 429).
    pub requests_waiting: usize,
    /// Tokens of a prompt and its completion together. The model's own window holds if it is smaller.
    pub window: usize,
    /// Size of the KV cache in tokens. Requests wait until they fit.
    pub kv_tokens: usize,
}

/// Keys that clients must send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// SHA-256 of each accepted bearer key, as `sha256:<64 hex digits>`; `autodidact key` makes one.
    /// If the list is empty, no key is needed and the server listens on loopback only.
    pub keys: Vec<String>,
}

/// The background jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Jobs that run at the same time. They share the engine's threads.
    pub workers: usize,
    /// Days that events and steps of a finished job are kept; 0 means for ever.
    pub keep_days: u32,
}

/// Engines beside the serving engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Devices for `/train`. Each gets an engine with its own copy of the weights. If the list is empty, the serving
    /// engine practises too, at a lower priority than its clients.
    pub devices: Vec<ExecutorKind>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: PathBuf::from("data"),
            model: DEFAULT_MODEL.to_owned(),
            models_dir: expand_home("~/.cache/autodidact/models"),
            models_file: None,
            executor: ExecutorKind::Auto,
            threads: None,
            limits: Limits::default(),
            auth: Auth::default(),
            jobs: Jobs::default(),
            pool: Pool::default(),
            learning: Map::new(),
            datasets: BTreeMap::new(),
            teacher: None,
            judge: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 16 << 20,
            queue: 1000,
            documents_per_request: 1000,
            requests_waiting: 256,
            window: 8192,
            kv_tokens: 65_536,
        }
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            workers: 1,
            keep_days: 30,
        }
    }
}

/// The reason why the server does not start with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}, line {line}: {message}", path.display())]
    Parse {
        path: PathBuf,
        line: usize,
        message: String,
    },
    #[error("{name}: {message}")]
    Value { name: String, message: String },
    #[error(
        "refusing to listen on {listen} without a key, because anyone who can reach it could use and \
         change the model: run `autodidact key` and put the hash under [auth] keys, or listen on 127.0.0.1"
    )]
    Unprotected { listen: SocketAddr },
}

impl Config {
    /// Reads the file (`explicit`, or the usual places), then the environment, then the flags.
    pub fn load(
        explicit: Option<&Path>,
        env: impl Fn(&str) -> Option<String>,
        flags: Overrides,
    ) -> Result<Self, ConfigError> {
        let named = explicit
            .map(Path::to_owned)
            .or_else(|| env("AUTODIDACT_CONFIG").map(PathBuf::from));
        let mut config = match named.or_else(|| usual_file(&env)) {
            Some(path) => Self::from_file(&path)?,
            None => Self::default(),
        };
        config.apply(Overrides::from_env(env)?);
        config.apply(flags);
        config.check()?;
        Ok(config)
    }

    /// Reads one file. Missing keys get their defaults.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// Parses the text of a configuration file; `path` names it in errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            line: line_of(text, &error),
            message: error.message().replace('\n', " "),
        })
    }

    fn apply(&mut self, over: Overrides) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut self.listen, over.listen);
        set(&mut self.data, over.data);
        set(&mut self.model, over.model);
        set(&mut self.models_dir, over.models_dir);
        self.models_file = over.models_file.or(self.models_file.take());
        set(&mut self.executor, over.executor);
        self.threads = over.threads.or(self.threads);
        set(&mut self.limits.body_bytes, over.body_bytes);
        set(&mut self.limits.queue, over.queue);
        set(
            &mut self.limits.documents_per_request,
            over.documents_per_request,
        );
        set(&mut self.limits.requests_waiting, over.requests_waiting);
        set(&mut self.limits.window, over.window);
        set(&mut self.limits.kv_tokens, over.kv_tokens);
        set(&mut self.jobs.workers, over.workers);
        set(&mut self.jobs.keep_days, over.keep_days);
        self.teacher = over.teacher.or(self.teacher.take());
        self.judge = over.judge.or(self.judge.take());
        self.auth.keys.extend(over.api_key_hashes);
    }

    /// Checks the rules that the types cannot express.
    fn check(&self) -> Result<(), ConfigError> {
        if let Some(bad) = self.auth.keys.iter().find(|key| !is_key_hash(key)) {
            return Err(value_error(
                "auth.keys",
                format!(
                    "`{bad}` is not a hash; write `sha256:` and 64 hex digits, as `autodidact key` prints"
                ),
            ));
        }
        for (name, count) in [
            ("threads", self.threads.unwrap_or(1)),
            ("jobs.workers", self.jobs.workers),
            ("limits.body_bytes", self.limits.body_bytes),
            ("limits.queue", self.limits.queue),
            (
                "limits.documents_per_request",
                self.limits.documents_per_request,
            ),
            ("limits.requests_waiting", self.limits.requests_waiting),
            ("limits.window", self.limits.window),
            ("limits.kv_tokens", self.limits.kv_tokens),
        ] {
            if count == 0 {
                return Err(value_error(name, "must be at least 1".to_owned()));
            }
        }
        Ok(())
    }

    /// Refuses an address other than loopback if no key is configured.
    pub fn check_exposure(&self) -> Result<(), ConfigError> {
        if !self.listen.ip().is_loopback() && self.auth.keys.is_empty() {
            return Err(ConfigError::Unprotected {
                listen: self.listen,
            });
        }
        Ok(())
    }
}

fn value_error(name: &str, message: String) -> ConfigError {
    ConfigError::Value {
        name: name.to_owned(),
        message,
    }
}

fn is_key_hash(key: &str) -> bool {
    key.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn usual_file(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let personal = env("XDG_CONFIG_HOME")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| expand_home("~/.config"), PathBuf::from)
        .join("autodidact/autodidact.toml");
    [PathBuf::from("autodidact.toml"), personal]
        .into_iter()
        .find(|path| path.is_file())
}

/// One-based line of a TOML error. An error about the whole file has no span and gets line 1.
pub(crate) fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    1 + text.as_bytes()[..start]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
}

/// Replaces a leading `~/` with the home directory.
pub(crate) fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

fn home_path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(expand_home(&String::deserialize(deserializer)?))
}

/// Deserializes a path that is present. A missing field keeps its default.
fn some_home_path<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    home_path(deserializer).map(Some)
}
