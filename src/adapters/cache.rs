//! Adapters in memory, by digest.
//!
//! The cache keeps a few recently used adapters alive and holds weak references to the others. An adapter that a
//! request still uses is found again; an unused adapter is freed.

use autodidact_engine::Lora;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// An adapter ready for use.
#[derive(Debug)]
pub struct Loaded {
    pub digest: String,
    pub lora: Arc<Lora>,
}

/// Locked while its adapter is loaded, so that requests for one adapter load it once.
type Slot = Arc<Mutex<Weak<Loaded>>>;

pub(super) struct Cache {
    slots: Mutex<HashMap<String, Slot>>,
    recent: Mutex<VecDeque<Arc<Loaded>>>,
    keep: usize,
}

impl Cache {
    /// A cache that keeps the `keep` adapters used last.
    pub fn new(keep: usize) -> Self {
        Cache {
            slots: Mutex::default(),
            recent: Mutex::default(),
            keep,
        }
    }

    pub fn get_or_load<E>(
        &self,
        digest: &str,
        load: impl FnOnce() -> Result<Lora, E>,
    ) -> Result<Arc<Loaded>, E> {
        let slot = self.slot(digest);
        let mut held = lock(&slot);
        let loaded = match held.upgrade() {
            Some(loaded) => loaded,
            None => {
                let loaded = Arc::new(Loaded {
                    digest: digest.into(),
                    lora: Arc::new(load()?),
                });
                *held = Arc::downgrade(&loaded);
                loaded
            }
        };
        self.touch(&loaded);
        Ok(loaded)
    }

    /// Drops the cache's reference. The adapter is freed with its last user.
    pub fn retire(&self, digest: &str) {
        lock(&self.recent).retain(|loaded| loaded.digest != digest);
    }

    fn touch(&self, loaded: &Arc<Loaded>) {
        let mut recent = lock(&self.recent);
        recent.retain(|other| other.digest != loaded.digest);
        recent.push_front(loaded.clone());
        recent.truncate(self.keep);
    }

    fn slot(&self, digest: &str) -> Slot {
        let mut slots = lock(&self.slots);
        // Remove slots that nobody holds and that have no adapter left.
        slots.retain(|_, slot| Arc::strong_count(slot) > 1 || lock(slot).strong_count() > 0);
        slots.entry(digest.into()).or_default().clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
