//! The progress of a run, counted in trials; writing and fine-tuning count as parts of a trial.

use crate::learn::ports::journal::Journal;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) struct Meter {
    state: Mutex<State>,
}

struct State {
    total: f32,
    done: f32,
    stage: String,
}

impl Meter {
    pub fn new(total: f32) -> Self {
        Meter {
            state: Mutex::new(State {
                total: total.max(1.0),
                done: 0.0,
                stage: String::new(),
            }),
        }
    }

    /// The run's work turns out to be this much.
    pub fn expect(&self, total: f32) {
        self.state().total = total.max(1.0);
    }

    /// What the run is at now, told before every message.
    pub fn stage(&self, stage: String) {
        self.state().stage = stage;
    }

    pub fn done(&self, units: f32) {
        self.state().done += units;
    }

    /// Trials that an earlier life made: done, but no measure of this one's pace, so nothing is told.
    pub fn skip(&self, trials: f32) {
        self.done(trials);
    }

    /// `underway`: units of work that is not done yet.
    pub fn tell(&self, journal: &dyn Journal, stage: &str, underway: f32, message: &str) {
        let (fraction, message) = {
            let state = self.state();
            let fraction = ((state.done + underway) / state.total).clamp(0.0, 1.0);
            (fraction, format!("{}: {message}", state.stage))
        };
        journal.progress(stage, fraction, &message);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
