//! One typed configuration, from three places, the later winning: a TOML file, then `AUTODIDACT_…`
//! environment variables, then command-line flags.
//!
//! The file is the one named by `--config` (or `AUTODIDACT_CONFIG`), else `./autodidact.toml`, else
//! `$XDG_CONFIG_HOME/autodidact/autodidact.toml`; no file at all means the defaults, which
//! `config/autodidact.toml` spells out with comments. A key nobody knows is an error, never ignored:
//! a misspelt limit that silently does nothing is worse than a server that does not start. Unknown
//! *environment variables* are ignored, because container platforms invent some of their own.
//!
//! The `[learning]` table is kept as it was written; the learning room gives it its types.

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

/// The model served when nothing else is asked for: small enough for two cores, able to learn.
pub const DEFAULT_MODEL: &str = "qwen2.5-coder-0.5b-instruct";

/// Everything the server can be told. Each field's default is what `config/autodidact.toml` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port of the HTTP server. Anything but loopback needs [`Auth::keys`].
    pub listen: SocketAddr,
    /// Directory of everything durable: the database and the adapters.
    #[serde(deserialize_with = "home_path")]
    pub data: PathBuf,
    /// A name from the catalogue, or a path to a GGUF file or a Hugging Face directory.
    pub model: String,
    /// Where fetched models are kept.
    #[serde(deserialize_with = "home_path")]
    pub models_dir: PathBuf,
    /// A second catalogue, whose models are added to the built-in ones or replace those of the same name.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_home_path"
    )]
    pub models_file: Option<PathBuf>,
    /// Which implementation computes.
    pub executor: ExecutorKind,
    /// Threads the engine computes with; by default one per core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// Bounds on what clients may ask for.
    pub limits: Limits,
    /// Who may ask.
    pub auth: Auth,
    /// The background jobs.
    pub jobs: Jobs,
    /// Who computes beside the engine that serves.
    pub pool: Pool,
    /// Learning settings laid over the model's own, as written; `learn` gives them types.
    pub learning: Map<String, Value>,
    /// Files of contexts that `/train` may name: lists of {title, context, questions}, or SQuAD v1.1.
    pub datasets: BTreeMap<String, PathBuf>,
    /// Writes self-edits where they are asked of a teacher.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "text_models::section"
    )]
    pub teacher: Option<TextModelConfig>,
    /// Grades answers where that is asked of a judge.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "text_models::section"
    )]
    pub judge: Option<TextModelConfig>,
}

/// Which implementation computes the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutorKind {
    /// The best one for this machine: today `cpu`.
    #[default]
    Auto,
    /// Fused kernels on the processor.
    Cpu,
    /// Plain candle operations: slow, and what everything else is tested against.
    Reference,
}

/// Bounds on what clients may ask for; beyond them a request is refused in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Largest request body in bytes (413 beyond).
    pub body_bytes: usize,
    /// Jobs that may wait (429 beyond).
    pub queue: usize,
    /// Documents in one ingest request (422 beyond).
    pub documents_per_request: usize,
    /// Completion requests that may wait for the engine (429 beyond).
    pub requests_waiting: usize,
    /// Tokens a prompt and its completion may have together; the model's own window if that is smaller.
    pub window: usize,
    /// Tokens for whose keys and values there is memory; requests wait until they fit.
    pub kv_tokens: usize,
}

/// Who may ask.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// SHA-256 of each accepted bearer key, as `sha256:<64 hex digits>`; `autodidact key` makes one.
    /// Empty: no key is asked for, and only loopback is served.
    pub keys: Vec<String>,
}

/// The background jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Jobs that run at the same time; they share the engine's threads.
    pub workers: usize,
    /// Days that events and steps of a finished job are kept; 0: for ever.
    pub keep_days: u32,
}

/// Who computes beside the engine that serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Devices that practise in `/train`, an engine each with weights of its own. Empty: the engine
    /// that serves practises too, behind its clients.
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

/// Why the server will not start with this configuration.
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
    /// Reads the file (`explicit`, or the usual places), the environment and the flags, in that order.
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

    /// Reads one file; keys it leaves out keep their defaults.
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

    /// What no type can say.
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

    /// Refuses to open a server to others that asks nobody for a key.
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

/// One-based line of a TOML error; errors about the whole file have no span and are put on line 1.
pub(crate) fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    1 + text.as_bytes()[..start]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
}

/// `~/x` as the shell would read it; everything else unchanged.
pub(crate) fn expand_home(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

fn home_path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(expand_home(&String::deserialize(deserializer)?))
}

/// A field that is given; one that is not keeps its default.
fn some_home_path<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    home_path(deserializer).map(Some)
}
