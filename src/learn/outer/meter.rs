//! How far the run is, in trials; writing and fine-tuning count as some.

use crate::learn::journal::Journal;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) struct Meter {
    total: f32,
    state: Mutex<(f32, String)>,
}

impl Meter {
    pub fn new(total: f32) -> Self {
        Meter {
            total: total.max(1.0),
            state: Mutex::default(),
        }
    }

    /// What the run is at now, told before every message.
    pub fn stage(&self, stage: String) {
        self.state().1 = stage;
    }

    pub fn done(&self, units: f32) {
        self.state().0 += units;
    }

    /// Trials that an earlier life made: done, but no measure of this one's pace, so nothing is told.
    pub fn skip(&self, trials: f32) {
        self.done(trials);
    }

    /// `underway`: units of work that is not done yet.
    pub fn tell(&self, journal: &dyn Journal, stage: &str, underway: f32, message: &str) {
        let (fraction, message) = {
            let state = self.state();
            let fraction = ((state.0 + underway) / self.total).clamp(0.0, 1.0);
            (fraction, format!("{}: {message}", state.1))
        };
        journal.progress(stage, fraction, &message);
    }

    fn state(&self) -> MutexGuard<'_, (f32, String)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
