//! The time budget of an adaptation: every stage ends inside its work when its time is over.

use crate::learn::ports::journal::{Interrupted, Journal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) struct Budget {
    begun: Instant,
    seconds: f32,
    /// The stages that the budget cut short.
    pub cut: Vec<String>,
}

/// The least time to answer in, whatever the earlier stages left.
const ANSWERING: Duration = Duration::from_secs(1);
/// The largest share of the time that is kept for predictions.
const KEPT: f32 = 0.4;

/// A job looks into its store when it is asked whether to stop, so it is asked only so often.
const ASKED_EVERY: Duration = Duration::from_millis(20);

/// Whether it is `end`, or the job is to stop.
pub(super) fn over<'a>(end: Instant, journal: &'a dyn Journal) -> impl Fn() -> bool + Sync + 'a {
    let last: Mutex<(Option<Instant>, bool)> = Mutex::default();
    move || {
        let now = Instant::now();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.0.is_none_or(|asked| now - asked >= ASKED_EVERY) {
            *last = (Some(now), journal.check().is_err());
        }
        last.1 || now >= end
    }
}

impl Budget {
    pub fn new(seconds: f32) -> Self {
        Budget {
            begun: Instant::now(),
            seconds,
            cut: Vec::new(),
        }
    }

    /// The end of the budget.
    pub fn end(&self) -> Instant {
        self.begun + Duration::from_secs_f32(self.seconds)
    }

    /// Seconds that are left; below 0 when the time is over.
    pub fn left(&self) -> f32 {
        self.seconds - self.begun.elapsed().as_secs_f32()
    }

    /// The time at which `seconds` are left of the budget.
    pub fn before_end(&self, seconds: f32) -> Instant {
        let kept = seconds.clamp(0.0, self.seconds);
        self.begun + Duration::from_secs_f32(self.seconds - kept)
    }

    /// The time at which the final training ends, so that the answers, which are reckoned at `asking` seconds, fit.
    pub fn training_end(&self, asking: f32) -> Instant {
        self.before_end((asking * 1.2).min(self.seconds * KEPT))
    }

    pub fn answering_end(&self) -> Instant {
        self.end().max(Instant::now() + ANSWERING)
    }

    /// The result of a stage; `None` if its time was over. A job that is to stop is stopped.
    pub fn kept<T>(
        &mut self,
        stage: &str,
        journal: &dyn Journal,
        result: Result<T, Interrupted>,
    ) -> Result<Option<T>, Interrupted> {
        match result {
            Err(Interrupted::Stopped) => {
                journal.check()?;
                self.cut.push(stage.to_owned());
                Ok(None)
            }
            other => other.map(Some),
        }
    }
}
