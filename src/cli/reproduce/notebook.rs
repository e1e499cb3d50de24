//! The journal of a command: what was measured is appended to a file at once, so that an interrupted
//! command, given again, goes on where it was. Without `--out` it forgets.

use super::kept::TableDirectory;
use autodidact::learn::outer::PolicyStore;
use autodidact::learn::outer::report::{PolicyUpdate, Round};
use autodidact::learn::ports::journal::{Interrupted, Journal, recalled};
use autodidact::learn::ports::model::Adapter;
use autodidact_engine::ModelConfig;
use autodidact_engine::lora::peft;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub struct Notebook {
    directory: Option<PathBuf>,
    inner: Mutex<Inner>,
    /// The shape that a policy must have to be read back.
    model: ModelConfig,
}

#[derive(Default)]
struct Inner {
    kept: TableDirectory,
    /// Policies of a command that writes nothing.
    policies: HashMap<String, Adapter>,
    /// When progress was last told, where that is not a terminal.
    told: Option<Instant>,
}

/// Between two lines of progress in a log.
const TELL: Duration = Duration::from_secs(60);

impl Notebook {
    pub fn open(
        directory: Option<&Path>,
        setting: &Value,
        model: &ModelConfig,
    ) -> Result<Self, String> {
        let kept = directory.map(|directory| TableDirectory::open(directory, setting));
        let inner = Inner {
            kept: kept.transpose()?.unwrap_or_default(),
            ..Inner::default()
        };
        Ok(Notebook {
            directory: directory.map(Path::to_owned),
            inner: Mutex::new(inner),
            model: model.clone(),
        })
    }

    /// Its steps under a name of their own.
    pub fn page(&self, name: &str) -> Page<'_> {
        Page {
            notebook: self,
            name: name.to_owned(),
        }
    }

    fn policy_directory(&self, key: &str) -> Option<PathBuf> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = key.chars().map(plain).collect();
        self.directory.as_ref().map(|d| d.join(name))
    }
}

/// A part of the notebook whose keys are its own: two practices do not take each other's steps.
pub struct Page<'a> {
    notebook: &'a Notebook,
    name: String,
}

impl Page<'_> {
    fn key(&self, key: &str) -> String {
        format!("practice{}:{key}", self.name)
    }
}

impl Journal for Page<'_> {
    fn recall(&self, key: &str) -> Result<Option<Value>, Interrupted> {
        self.notebook.recall(&self.key(key))
    }

    fn remember(&self, key: &str, value: &Value) -> Result<(), Interrupted> {
        self.notebook.remember(&self.key(key), value)
    }

    fn progress(&self, stage: &str, fraction: f32, message: &str) {
        self.notebook.progress(stage, fraction, message);
    }

    fn event(&self, kind: &str, data: Value) {
        self.notebook.event(kind, data);
    }

    fn report(&self, report: &autodidact::learn::inner::report::Report) {
        self.notebook.report(report);
    }

    fn check(&self) -> Result<(), Interrupted> {
        self.notebook.check()
    }
}

impl PolicyStore for Page<'_> {
    fn save(&self, key: &str, policy: &Adapter, about: &PolicyUpdate) -> Result<(), Interrupted> {
        self.notebook.save(&self.key(key), policy, about)
    }

    fn load(&self, key: &str) -> Result<Option<(Adapter, PolicyUpdate)>, Interrupted> {
        self.notebook.load(&self.key(key))
    }

    fn publish(
        &self,
        policy: &Adapter,
        round: &Round,
        practised: &[usize],
    ) -> Result<u64, Interrupted> {
        self.notebook.publish(policy, round, practised)
    }
}

impl Journal for Notebook {
    fn recall(&self, key: &str) -> Result<Option<Value>, Interrupted> {
        Ok(lock(&self.inner).kept.get(key).cloned())
    }

    fn remember(&self, key: &str, value: &Value) -> Result<(), Interrupted> {
        let added = lock(&self.inner).kept.add(key, value);
        added.map_err(|e| Interrupted::Journal(e.to_string()))
    }

    fn progress(&self, stage: &str, fraction: f32, message: &str) {
        let line = format!("{stage}: {message} ({:.0} % done)", 100.0 * fraction);
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K{line} ");
            return;
        }
        let mut inner = lock(&self.inner);
        if inner.told.is_none_or(|told| told.elapsed() >= TELL) {
            eprintln!("{line}");
            inner.told = Some(Instant::now());
        }
    }

    fn event(&self, kind: &str, data: Value) {
        if kind == "round" {
            let (round, reward) = (&data["round"], &data["reward"]);
            eprintln!(
                "\rround {round}: mean reward {reward}, kept {}",
                data["kept"]
            );
        }
    }

    /// Reports are of documents.
    fn report(&self, _: &autodidact::learn::inner::report::Report) {}

    fn check(&self) -> Result<(), Interrupted> {
        Ok(())
    }
}

impl PolicyStore for Notebook {
    fn save(&self, key: &str, policy: &Adapter, about: &PolicyUpdate) -> Result<(), Interrupted> {
        match self.policy_directory(key) {
            Some(directory) => {
                let saved = peft::save_dir(&directory, &peft::to_files(&policy.0, ""));
                saved.map_err(|e| Interrupted::Journal(e.to_string()))?;
            }
            None => {
                let mut inner = lock(&self.inner);
                inner.policies.insert(key.to_owned(), policy.clone());
            }
        }
        self.remember(key, &json!(about))
    }

    fn load(&self, key: &str) -> Result<Option<(Adapter, PolicyUpdate)>, Interrupted> {
        let Some(about) = recalled::<PolicyUpdate>(self, key)? else {
            return Ok(None);
        };
        let Some(directory) = self.policy_directory(key) else {
            let policy = lock(&self.inner).policies.get(key).cloned();
            return Ok(policy.map(|policy| (policy, about)));
        };
        let unreadable = |e: autodidact_engine::Error| Interrupted::Journal(e.to_string());
        let files = peft::load_dir(&directory).map_err(unreadable)?;
        let lora = peft::from_files(&files.config_json, &files.safetensors, &self.model);
        let policy = Adapter(Arc::new(lora.map_err(unreadable)?));
        Ok(Some((policy, about)))
    }

    /// There is no alias here: the round's number names its policy.
    fn publish(&self, _: &Adapter, round: &Round, _: &[usize]) -> Result<u64, Interrupted> {
        Ok(round.round as u64)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
