//! `[teacher]` and `[judge]`: a model that writes self-edits in the policy's place, and a model that grades answers.
//!
//! Each is a model of the catalogue run by this process, a model behind an OpenAI-compatible URL, or a GGUF file run
//! by mistralrs. The command line and the environment write the three as `NAME`, `URL#MODEL` and `mistralrs:FILE`.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::expand_home;

/// The environment variable of the bearer key, unless `key_env` names another.
pub const KEY_ENV: &str = "AUTODIDACT_TEXT_MODEL_KEY";

/// The place where a teacher or a judge runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub enum TextModelConfig {
    /// In this process. `model` is a catalogue name, or a path to a GGUF file or a Hugging Face directory.
    Native { model: String },
    /// Behind an OpenAI-compatible URL.
    Url(UrlModel),
    /// In this process, run by mistralrs (cargo feature `mistralrs`).
    Mistral { gguf: PathBuf },
}

/// A model behind an OpenAI-compatible URL.
#[derive(Debug, Clone, PartialEq)]
pub struct UrlModel {
    /// Base URL up to `/v1`, without a trailing slash.
    pub url: String,
    /// The server's name for the model.
    pub model: String,
    /// Environment variable with the bearer key; it must be set. `None`: the key in [`KEY_ENV`] is sent if that
    /// variable is set.
    pub key_env: Option<String>,
    /// Time limit for one answer.
    pub timeout: Duration,
    /// Retries of a request after 429, 5xx, or no answer.
    pub retries: u32,
    /// Requests in flight at the same time.
    pub parallel: usize,
}

impl UrlModel {
    /// A model with default settings. Fails unless `url` is an HTTP or HTTPS URL without query, and `model` is not
    /// empty.
    pub fn new(url: &str, model: &str) -> Result<Self, String> {
        let url = url.trim_end_matches('/');
        let host = ["http://", "https://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme));
        match host {
            Some(host) if !host.is_empty() && !host.starts_with(['/', ':', '?', '#']) => {}
            _ => {
                return Err(format!(
                    "url: `{url}` is not an address such as http://127.0.0.1:8080/v1"
                ));
            }
        }
        if url.contains(['#', '?']) || url.contains(char::is_whitespace) {
            return Err(format!(
                "url: `{url}` must end where the routes begin, usually with /v1"
            ));
        }
        if model.trim().is_empty() {
            return Err("model: name the model as the server at url calls it".into());
        }
        Ok(Self {
            url: url.to_owned(),
            model: model.to_owned(),
            key_env: None,
            timeout: Duration::from_secs(120),
            retries: 4,
            parallel: 4,
        })
    }
}

/// The section of the file as written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Fields {
    model: Option<String>,
    url: Option<String>,
    key_env: Option<String>,
    timeout_seconds: Option<u64>,
    retries: Option<u32>,
    parallel: Option<usize>,
    gguf: Option<String>,
    engine: Option<String>,
}

impl TryFrom<Fields> for TextModelConfig {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let of_urls = [
            ("key_env", fields.key_env.is_some()),
            ("timeout_seconds", fields.timeout_seconds.is_some()),
            ("retries", fields.retries.is_some()),
            ("parallel", fields.parallel.is_some()),
        ];
        if fields.url.is_none()
            && let Some((name, _)) = of_urls.iter().find(|(_, given)| *given)
        {
            return Err(format!("{name} belongs to a model behind a url"));
        }
        match (fields.url, fields.model, fields.gguf, fields.engine) {
            (Some(url), Some(model), None, None) => {
                let mut it = UrlModel::new(&url, &model)?;
                it.key_env = fields.key_env;
                if let Some(seconds) = fields.timeout_seconds {
                    it.timeout = Duration::from_secs(at_least_one("timeout_seconds", seconds)?);
                }
                it.retries = fields.retries.unwrap_or(it.retries);
                let parallel = fields.parallel.unwrap_or(it.parallel);
                it.parallel = at_least_one("parallel", parallel as u64)? as usize;
                Ok(Self::Url(it))
            }
            (None, Some(model), None, None) if !model.trim().is_empty() => {
                Ok(Self::Native { model })
            }
            (None, None, Some(gguf), Some(engine)) if engine == "mistralrs" => Ok(Self::Mistral {
                gguf: expand_home(&gguf),
            }),
            (None, None, Some(_), engine) => Err(match engine {
                Some(engine) => format!("engine: `{engine}` is not known; write \"mistralrs\""),
                None => "gguf: add engine = \"mistralrs\", or for this program's own engine write \
                         model = \"FILE\""
                    .into(),
            }),
            _ => Err(
                "say where the model is in one of three ways: model = \"NAME\"; url = \"…\" \
                      and model = \"NAME\"; gguf = \"FILE\" and engine = \"mistralrs\""
                    .into(),
            ),
        }
    }
}

fn at_least_one(name: &str, value: u64) -> Result<u64, String> {
    match value {
        0 => Err(format!("{name}: must be at least 1")),
        value => Ok(value),
    }
}

impl From<TextModelConfig> for Fields {
    fn from(config: TextModelConfig) -> Self {
        match config {
            TextModelConfig::Native { model } => Fields {
                model: Some(model),
                ..Fields::default()
            },
            TextModelConfig::Url(it) => Fields {
                url: Some(it.url),
                model: Some(it.model),
                key_env: it.key_env,
                timeout_seconds: Some(it.timeout.as_secs()),
                retries: Some(it.retries),
                parallel: Some(it.parallel),
                ..Fields::default()
            },
            TextModelConfig::Mistral { gguf } => Fields {
                gguf: Some(gguf.display().to_string()),
                engine: Some("mistralrs".into()),
                ..Fields::default()
            },
        }
    }
}

impl FromStr for TextModelConfig {
    type Err = String;

    /// Parses `NAME`, `URL#MODEL` or `mistralrs:FILE`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(file) = text.strip_prefix("mistralrs:") {
            return match file {
                "" => Err("name the file: mistralrs:FILE.gguf".into()),
                file => Ok(Self::Mistral {
                    gguf: expand_home(file),
                }),
            };
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            let (url, model) = text.split_once('#').ok_or_else(|| {
                format!("`{text}` does not say which model: write URL#MODEL, as in {text}#gpt-4.1")
            })?;
            return UrlModel::new(url, model).map(Self::Url);
        }
        match text.trim() {
            "" => Err("name a model: NAME, URL#MODEL or mistralrs:FILE".into()),
            name => Ok(Self::Native { model: name.into() }),
        }
    }
}

impl fmt::Display for TextModelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native { model } => f.write_str(model),
            Self::Url(it) => write!(f, "{}#{}", it.url, it.model),
            Self::Mistral { gguf } => write!(f, "mistralrs:{}", gguf.display()),
        }
    }
}

/// Deserializes a section that may be empty, as in the shipped file.
pub(super) fn section<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<TextModelConfig>, D::Error> {
    let table = toml::Table::deserialize(deserializer)?;
    match table.is_empty() {
        true => Ok(None),
        false => table.try_into().map(Some).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TextModelConfig, String> {
        toml::from_str(text).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn the_three_ways_in_the_file_and_in_a_word() {
        let native = read("model = 'qwen'").unwrap();
        assert_eq!(native, "qwen".parse().unwrap());
        let url = read("url = 'http://[::1]:8000/v1/'\nmodel = 'big'").unwrap();
        assert_eq!(url, "http://[::1]:8000/v1#big".parse().unwrap());
        let file = read("gguf = '/m/x.gguf'\nengine = 'mistralrs'").unwrap();
        assert_eq!(file, "mistralrs:/m/x.gguf".parse().unwrap());
        for config in [native, url, file] {
            assert_eq!(config.to_string().parse(), Ok(config.clone()));
            let written = toml::to_string(&config).unwrap();
            assert_eq!(read(&written).unwrap(), config);
        }
    }

    #[test]
    fn a_url_takes_its_own_settings() {
        let text = "url = 'https://a.b'\nmodel = 'm'\nkey_env = 'KEY'\ntimeout_seconds = 7\n\
                    retries = 0\nparallel = 1";
        let Ok(TextModelConfig::Url(it)) = read(text) else {
            panic!("{:?}", read(text));
        };
        assert_eq!(it.key_env.as_deref(), Some("KEY"));
        assert_eq!((it.timeout.as_secs(), it.retries, it.parallel), (7, 0, 1));
    }

    #[test]
    fn what_cannot_be_is_told_what_would_be_right() {
        for (text, told) in [
            ("url = 'http://a/v1'", "one of three ways"),
            ("model = ''", "one of three ways"),
            ("model = 'x'\ngguf = 'y'", "one of three ways"),
            ("gguf = 'y'", "engine = \"mistralrs\""),
            (
                "gguf = 'y'\nengine = 'llama.cpp'",
                "`llama.cpp` is not known",
            ),
            ("url = 'a.b'\nmodel = 'x'", "url: `a.b` is not an address"),
            ("url = 'http:///v1'\nmodel = 'x'", "is not an address"),
            ("url = 'http://a/?k=1'\nmodel = 'x'", "must end where"),
            ("url = 'http://a'\nmodel = ' '", "name the model"),
            ("model = 'x'\nretries = 3", "retries belongs to"),
            (
                "url = 'http://a'\nmodel = 'x'\ntimeout_seconds = 0",
                "timeout_seconds: must be",
            ),
            ("modle = 'x'", "unknown field `modle`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
        for text in ["", "http://a/v1", "mistralrs:", "http://a#"] {
            assert!(text.parse::<TextModelConfig>().is_err(), "{text}");
        }
    }
}
