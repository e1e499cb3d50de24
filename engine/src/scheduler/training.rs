//! A training job: candidates that take their optimizer steps together, a slice at a time.

use super::{Priority, Progress, Trained};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::trainer::{Candidate, Step};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

pub(super) struct Training {
    pub priority: Priority,
    pub reply: SyncSender<Result<Vec<Trained>>>,
    candidates: Vec<Candidate>,
    progress: Progress,
    /// Says before every part of a step whether the training is to end with the steps that it has.
    enough: Enough,
    ended: bool,
    /// Gone when the caller has stopped waiting.
    caller: Weak<()>,
    step: Option<Step>,
    started: Option<Instant>,
}

/// Asked on the engine's thread before every part of a step. `true` ends the training: the step under way is thrown
/// away, and the result is what the steps before made.
pub type Enough = Box<dyn FnMut() -> bool + Send>;

impl Training {
    pub fn new(
        candidates: Vec<Candidate>,
        priority: Priority,
        (progress, enough): (Progress, Enough),
        caller: Weak<()>,
        reply: SyncSender<Result<Vec<Trained>>>,
    ) -> Self {
        Training {
            priority,
            reply,
            candidates,
            progress,
            enough,
            ended: false,
            caller,
            step: None,
            started: None,
        }
    }

    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    pub fn has_caller(&self) -> bool {
        self.caller.strong_count() > 0
    }

    pub fn done(&self) -> bool {
        self.ended || (self.step.is_none() && self.candidates.iter().all(Candidate::finished))
    }

    /// Whether a micro-batch has begun and not ended. Meanwhile no other training may have a turn.
    pub fn under_way(&self) -> bool {
        self.step.as_ref().is_some_and(Step::under_way)
    }

    /// Runs the next part of a micro-batch; after the step's last part also the update. Returns the micro-batch's
    /// tokens if this was its last part, else 0. Nothing of a step that is thrown away reaches a candidate's weights.
    pub fn slice(&mut self, executor: &mut dyn Executor, budget: usize) -> Result<usize> {
        self.started.get_or_insert_with(Instant::now);
        let enough = AssertUnwindSafe(|| (self.enough)());
        if catch_unwind(enough).unwrap_or(true) {
            (self.step, self.ended) = (None, true);
            return Ok(0);
        }
        let mut step = match self.step.take() {
            Some(step) => step,
            None => Step::begin(&mut self.candidates),
        };
        let tokens = step.slice(executor, &mut self.candidates, budget)?;
        if step.pending() {
            self.step = Some(step);
            return Ok(tokens);
        }
        let reports = step.finish(&mut self.candidates)?;
        let progress = AssertUnwindSafe(|| (self.progress)(&reports));
        match catch_unwind(progress).unwrap_or(false) {
            true => Ok(tokens),
            false => Err(Error::Cancelled),
        }
    }

    pub fn take(&mut self) -> Vec<Trained> {
        let seconds = self.started.map_or(0.0, |s| s.elapsed().as_secs_f64());
        std::mem::take(&mut self.candidates)
            .into_iter()
            .map(|candidate| Trained {
                losses: candidate.losses().to_vec(),
                tokens: candidate.tokens(),
                lora: candidate.into_lora(),
                seconds,
            })
            .collect()
    }
}
