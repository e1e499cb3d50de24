//! Settings from the environment and the command line. One list serves both, so both use the same names:
//! `--listen` is `AUTODIDACT_LISTEN`.

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use super::{ConfigError, ExecutorKind, TextModelConfig, expand_home, value_error};

/// Settings given outside the file. `None` leaves a setting unchanged.
#[derive(Debug, Default, Clone, PartialEq, clap::Args)]
pub struct Overrides {
    /// Address and port to serve on [env: AUTODIDACT_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Directory of the database and the adapters [env: AUTODIDACT_DATA] [default: data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Model name in the catalogue, or path to a GGUF file or a Hugging Face directory [env: AUTODIDACT_MODEL]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Directory of fetched models [env: AUTODIDACT_MODELS] [default: ~/.cache/autodidact/models]
    #[arg(long, value_name = "DIR")]
    pub models_dir: Option<PathBuf>,
    /// Catalogue file whose models are added to the built-in ones [env: AUTODIDACT_MODELS_FILE]
    #[arg(long, value_name = "FILE")]
    pub models_file: Option<PathBuf>,
    /// Implementation that computes the model: auto, cpu or reference [env: AUTODIDACT_EXECUTOR] [default: auto]
    #[arg(long, value_name = "KIND")]
    pub executor: Option<ExecutorKind>,
    /// Threads of the engine [env: AUTODIDACT_THREADS] [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Hash of an accepted bearer key, as `autodidact key` prints it; may be repeated [env: AUTODIDACT_API_KEY_HASH, separated by commas]
    #[arg(long = "api-key-hash", value_name = "HASH")]
    pub api_key_hashes: Vec<String>,
    /// AUTODIDACT_LIMITS_BODY_BYTES
    #[arg(skip)]
    pub body_bytes: Option<usize>,
    /// AUTODIDACT_LIMITS_QUEUE
    #[arg(skip)]
    pub queue: Option<usize>,
    /// AUTODIDACT_LIMITS_DOCUMENTS_PER_REQUEST
    #[arg(skip)]
    pub documents_per_request: Option<usize>,
    /// AUTODIDACT_LIMITS_REQUESTS_WAITING
    #[arg(skip)]
    pub requests_waiting: Option<usize>,
    /// AUTODIDACT_LIMITS_WINDOW
    #[arg(skip)]
    pub window: Option<usize>,
    /// AUTODIDACT_LIMITS_KV_TOKENS
    #[arg(skip)]
    pub kv_tokens: Option<usize>,
    /// AUTODIDACT_JOBS_WORKERS
    #[arg(skip)]
    pub workers: Option<usize>,
    /// AUTODIDACT_JOBS_KEEP_DAYS
    #[arg(skip)]
    pub keep_days: Option<u32>,
    /// AUTODIDACT_TEACHER
    #[arg(skip)]
    pub teacher: Option<TextModelConfig>,
    /// AUTODIDACT_JUDGE
    #[arg(skip)]
    pub judge: Option<TextModelConfig>,
}

impl Overrides {
    /// Reads the `AUTODIDACT_…` variables through `env`. An empty variable counts as absent.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        Ok(Self {
            listen: parsed(
                env,
                "AUTODIDACT_LISTEN",
                "an address and port such as 127.0.0.1:8080",
            )?,
            data: env("AUTODIDACT_DATA").map(|path| expand_home(&path)),
            model: env("AUTODIDACT_MODEL"),
            models_dir: env("AUTODIDACT_MODELS").map(|path| expand_home(&path)),
            models_file: env("AUTODIDACT_MODELS_FILE").map(|path| expand_home(&path)),
            executor: parsed(env, "AUTODIDACT_EXECUTOR", "auto, cpu or reference")?,
            threads: count(env, "AUTODIDACT_THREADS")?,
            api_key_hashes: env("AUTODIDACT_API_KEY_HASH")
                .map(|list| list.split(',').map(|key| key.trim().to_owned()).collect())
                .unwrap_or_default(),
            body_bytes: count(env, "AUTODIDACT_LIMITS_BODY_BYTES")?,
            queue: count(env, "AUTODIDACT_LIMITS_QUEUE")?,
            documents_per_request: count(env, "AUTODIDACT_LIMITS_DOCUMENTS_PER_REQUEST")?,
            requests_waiting: count(env, "AUTODIDACT_LIMITS_REQUESTS_WAITING")?,
            window: count(env, "AUTODIDACT_LIMITS_WINDOW")?,
            kv_tokens: count(env, "AUTODIDACT_LIMITS_KV_TOKENS")?,
            workers: count(env, "AUTODIDACT_JOBS_WORKERS")?,
            keep_days: parsed(env, "AUTODIDACT_JOBS_KEEP_DAYS", "a whole number of days")?,
            teacher: text_model(env, "AUTODIDACT_TEACHER")?,
            judge: text_model(env, "AUTODIDACT_JUDGE")?,
        })
    }
}

impl FromStr for ExecutorKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "reference" => Ok(Self::Reference),
            _ => Err(format!(
                "`{text}` is not an executor; choose auto, cpu or reference"
            )),
        }
    }
}

fn count(env: impl Fn(&str) -> Option<String>, name: &str) -> Result<Option<usize>, ConfigError> {
    parsed(env, name, "a whole number")
}

fn text_model(
    env: impl Fn(&str) -> Option<String>,
    name: &str,
) -> Result<Option<TextModelConfig>, ConfigError> {
    let parse = |text: String| text.parse().map_err(|error| value_error(name, error));
    env(name).map(parse).transpose()
}

fn parsed<T: FromStr>(
    env: impl Fn(&str) -> Option<String>,
    name: &str,
    wanted: &str,
) -> Result<Option<T>, ConfigError> {
    env(name)
        .map(|text| {
            text.parse()
                .map_err(|_| value_error(name, format!("`{text}` is not {wanted}")))
        })
        .transpose()
}
