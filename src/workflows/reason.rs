//! Why a job's journal said stop. Learning only hears that it is to stop; what happened is kept here for the
//! job's own answer.

use crate::jobs::JobFailure;
use crate::learn::ports::journal::Interrupted;
use std::sync::{Mutex, PoisonError};

#[derive(Default)]
pub(crate) struct Reason(Mutex<Option<JobFailure>>);

impl Reason {
    /// Keeps the reason, and gives learning its sign.
    pub fn stop(&self, failure: JobFailure) -> Interrupted {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        Interrupted::Stopped
    }

    /// What the job answers once learning has come back with `stop`: the reason kept, or learning's own.
    pub fn failure(&self, stop: Interrupted) -> JobFailure {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (told.take(), stop) {
            (Some(failure), _) => failure,
            (None, Interrupted::Model(error)) => JobFailure::new("model", error.to_string()),
            (None, other) => JobFailure::new("learning", other.to_string()),
        }
    }
}
