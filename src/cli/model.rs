//! `autodidact model`: lists the catalogue, fetches models, and verifies the models that are here.

use std::path::PathBuf;

use autodidact::config::Overrides;
use autodidact::models::{Model, Models, Source, State, Trust};
use autodidact_engine::{Family, tiny};
use clap::{Args, Subcommand};
use serde_json::json;

use super::settings::{Settings, env};

#[derive(Debug, Args)]
pub struct ModelCommand {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    settings: Settings,
    /// Directory of fetched models [env: AUTODIDACT_MODELS] [default: ~/.cache/autodidact/models]
    #[arg(long, value_name = "DIR", global = true)]
    models_dir: Option<PathBuf>,
    /// Catalogue file whose models are added to the built-in ones [env: AUTODIDACT_MODELS_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    models_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the models of the catalogue, and whether each is here
    List {
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model, unless a verified copy is here already
    Fetch {
        /// Name of the model in the catalogue
        name: String,
    },
    /// Hash the models that are here and compare them with the pinned or recorded digests
    Verify {
        /// Name of one model [default: every model that is here]
        name: Option<String>,
        /// Print as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write a tiny model of random weights, for tests: it loads in milliseconds and knows nothing
    #[command(hide = true)]
    Tiny { dir: PathBuf },
}

impl ModelCommand {
    pub fn run(self) -> Result<(), String> {
        if let Action::Tiny { dir } = self.action {
            return tiny::write_tiny(&dir, Family::Qwen2, 7).map_err(|e| e.to_string());
        }
        let config = self.settings.load(Overrides {
            models_dir: self.models_dir,
            models_file: self.models_file,
            ..Overrides::default()
        })?;
        let models = Models::open(&config, env).map_err(|error| error.to_string())?;
        match self.action {
            Action::Tiny { .. } => Ok(()),
            Action::List { json } => list(&models, json),
            Action::Fetch { name } => {
                let path = models.fetch(&name).map_err(|error| error.to_string())?;
                println!("{}", path.display());
                Ok(())
            }
            Action::Verify { name, json } => verify(&models, name.as_deref(), json),
        }
    }
}

fn list(models: &Models, json: bool) -> Result<(), String> {
    let entries = models.catalogue().models();
    if json {
        let list: Vec<_> = entries.iter().map(|model| entry(models, model)).collect();
        println!("{:#}", json!(list));
        return Ok(());
    }
    println!(
        "{:<28} {:<6} {:>9}  {:<5} {:<28} LICENCE",
        "NAME", "FAMILY", "SIZE", "HERE", "DIGEST"
    );
    for model in entries {
        println!(
            "{:<28} {:<6} {:>6} MB  {:<5} {:<28} {}{}",
            model.name,
            format!("{:?}", model.family).to_lowercase(),
            model.size / 1_000_000,
            if models.looks_whole(model) {
                "yes"
            } else {
                "no"
            },
            match models.trust(model) {
                Trust::Pinned => "pinned",
                Trust::FirstUse => "none: trusted on first use",
                Trust::Recorded => "recorded at first use",
            },
            model.licence,
            if model.gated {
                " (gated: needs HF_TOKEN)"
            } else {
                ""
            },
        );
    }
    Ok(())
}

fn entry(models: &Models, model: &Model) -> serde_json::Value {
    let sources: Vec<String> = model.sources.iter().map(Source::title).collect();
    json!({
        "name": model.name,
        "family": model.family,
        "format": model.format,
        "licence": model.licence,
        "gated": model.gated,
        "size": model.size,
        "sha256": model.sha256,
        "trust": models.trust(model),
        "sources": sources,
        "here": models.looks_whole(model),
        "path": models.path(model),
    })
}

fn verify(models: &Models, only: Option<&str>, json: bool) -> Result<(), String> {
    let names: Vec<&str> = match only {
        Some(name) => vec![name],
        None => models
            .catalogue()
            .models()
            .iter()
            .filter(|model| models.path(model).exists())
            .map(|model| model.name.as_str())
            .collect(),
    };
    if names.is_empty() && !json {
        println!("no model of the catalogue is here");
    }
    let mut bad = Vec::new();
    let mut states = serde_json::Map::new();
    for name in names {
        let state = models.verify(name).map_err(|error| error.to_string())?;
        let verdict = match &state {
            State::Good => "good".to_owned(),
            State::Absent => format!("not here; run `autodidact model fetch {name}`"),
            State::Unrecorded => "here, but it has no recorded digest to compare with".to_owned(),
            State::Wrong(how) => format!("WRONG: {how}; run `autodidact model fetch {name}`"),
        };
        if matches!(state, State::Wrong(_) | State::Absent) {
            bad.push(name.to_owned());
        }
        if json {
            states.insert(name.to_owned(), json!(state));
        } else {
            println!("{name}: {verdict}");
        }
    }
    if json {
        println!("{:#}", json!(states));
    }
    match bad.as_slice() {
        [] => Ok(()),
        bad => Err(format!("not as it should be: {}", bad.join(", "))),
    }
}
