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

    /// Corrects the run's total work, in trials.
    pub fn expect(&self, total: f32) {
        self.state().total = total.max(1.0);
    }

    /// Sets the current stage, which precedes every message.
    pub fn stage(&self, stage: String) {
        self.state().stage = stage;
    }

    pub fn done(&self, units: f32) {
        self.state().done += units;
    }

    /// Counts trials that an earlier process made. They do not count for this process's pace, and no message is sent.
    pub fn skip(&self, trials: f32) {
        self.done(trials);
    }

    /// Sends a message with the progress. `underway`: work in progress, in trials, that is not counted as done yet.
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
