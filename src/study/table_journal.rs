//! The journal of a table appends every measurement to the table's directory at once. An interrupted command that is
//! run again therefore continues where it stopped. Without a directory the measurements end with the command.

use super::table_directory::TableDirectory;
use crate::learn::outer::PolicyStore;
use crate::learn::outer::report::{PolicyUpdate, Round};
use crate::learn::ports::journal::{Interrupted, Journal, recalled};
use crate::learn::ports::model::Adapter;
use autodidact_engine::ModelConfig;
use autodidact_engine::lora::peft;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Receives the progress of a measurement.
pub trait Observer: Send + Sync {
    /// `fraction`: the finished part of the stage, 0 to 1.
    fn progress(&self, stage: &str, fraction: f32, message: &str);
    fn event(&self, kind: &str, data: &Value);
}

pub struct TableJournal {
    directory: Option<PathBuf>,
    inner: Mutex<Inner>,
    /// The shape that a stored policy must have.
    model: ModelConfig,
    observer: Box<dyn Observer>,
}

#[derive(Default)]
struct Inner {
    steps: TableDirectory,
    /// The policies of a command without a directory.
    policies: HashMap<String, Adapter>,
}

impl TableJournal {
    /// Fails if the directory cannot be used or holds measurements under other settings.
    pub fn open(
        directory: Option<&Path>,
        settings: &Value,
        model: &ModelConfig,
        observer: Box<dyn Observer>,
    ) -> Result<Self, String> {
        let steps = directory.map(|directory| TableDirectory::open(directory, settings));
        let inner = Inner {
            steps: steps.transpose()?.unwrap_or_default(),
            ..Inner::default()
        };
        Ok(TableJournal {
            directory: directory.map(Path::to_owned),
            inner: Mutex::new(inner),
            model: model.clone(),
            observer,
        })
    }

    /// A journal for one practice of the table. It has keys of its own, so that practices do not recall each other's
    /// steps.
    pub fn scoped(&self, name: &str) -> ScopedJournal<'_> {
        ScopedJournal {
            table: self,
            name: name.to_owned(),
        }
    }

    fn policy_directory(&self, key: &str) -> Option<PathBuf> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = key.chars().map(plain).collect();
        self.directory.as_ref().map(|d| d.join(name))
    }
}

/// See [`TableJournal::scoped`].
pub struct ScopedJournal<'a> {
    table: &'a TableJournal,
    name: String,
}

impl ScopedJournal<'_> {
    fn key(&self, key: &str) -> String {
        format!("practice{}:{key}", self.name)
    }
}

impl Journal for ScopedJournal<'_> {
    fn recall(&self, key: &str) -> Result<Option<Value>, Interrupted> {
        self.table.recall(&self.key(key))
    }

    fn remember(&self, key: &str, value: &Value) -> Result<(), Interrupted> {
        self.table.remember(&self.key(key), value)
    }

    fn progress(&self, stage: &str, fraction: f32, message: &str) {
        self.table.progress(stage, fraction, message);
    }

    fn event(&self, kind: &str, data: Value) {
        self.table.event(kind, data);
    }

    fn check(&self) -> Result<(), Interrupted> {
        self.table.check()
    }
}

impl PolicyStore for ScopedJournal<'_> {
    fn save(&self, key: &str, policy: &Adapter, about: &PolicyUpdate) -> Result<(), Interrupted> {
        self.table.save(&self.key(key), policy, about)
    }

    fn load(&self, key: &str) -> Result<Option<(Adapter, PolicyUpdate)>, Interrupted> {
        self.table.load(&self.key(key))
    }

    fn publish(
        &self,
        policy: &Adapter,
        round: &Round,
        practised: &[usize],
    ) -> Result<u64, Interrupted> {
        self.table.publish(policy, round, practised)
    }
}

impl Journal for TableJournal {
    fn recall(&self, key: &str) -> Result<Option<Value>, Interrupted> {
        Ok(lock(&self.inner).steps.get(key).cloned())
    }

    fn remember(&self, key: &str, value: &Value) -> Result<(), Interrupted> {
        let added = lock(&self.inner).steps.add(key, value);
        added.map_err(|e| Interrupted::Journal(e.to_string()))
    }

    fn progress(&self, stage: &str, fraction: f32, message: &str) {
        self.observer.progress(stage, fraction, message);
    }

    fn event(&self, kind: &str, data: Value) {
        self.observer.event(kind, &data);
    }

    fn check(&self) -> Result<(), Interrupted> {
        Ok(())
    }
}

impl PolicyStore for TableJournal {
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

    /// The version of a policy is the round's number, since a table has no alias.
    fn publish(&self, _: &Adapter, round: &Round, _: &[usize]) -> Result<u64, Interrupted> {
        Ok(round.round as u64)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
