//! Watching over the calls of one piece of work: the wish to stop them, and their cost.

use serde::{Deserialize, Serialize};
use std::iter::Sum;
use std::ops::AddAssign;
use std::sync::{Mutex, PoisonError};
use utoipa::ToSchema;

/// What watches over calls of a model. A closure that returns a bool watches only for the wish to stop.
pub trait Watch: Sync {
    /// Polled while the model works, maybe by several threads at once; true ends the wait.
    fn stopped(&self) -> bool;

    /// Hears the tokens of every finished call.
    fn spent(&self, _tokens: Tokens) {}
}

impl<F: Fn() -> bool + Sync + ?Sized> Watch for F {
    fn stopped(&self) -> bool {
        self()
    }
}

/// The tokens of some work. A remembered answer costs none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// Of prompts to generate from; a shared beginning counts for each prompt
    pub prompt: usize,
    /// Generated
    pub generated: usize,
    /// Of answers whose likelihood was asked, with their prompts
    pub scored: usize,
    /// Trained on, all epochs together
    pub trained: usize,
}

impl AddAssign for Tokens {
    fn add_assign(&mut self, other: Tokens) {
        self.prompt += other.prompt;
        self.generated += other.generated;
        self.scored += other.scored;
        self.trained += other.trained;
    }
}

impl Sum for Tokens {
    fn sum<I: Iterator<Item = Tokens>>(all: I) -> Tokens {
        all.fold(Tokens::default(), |mut sum, tokens| {
            sum += tokens;
            sum
        })
    }
}

/// The sum of the tokens that some calls told of.
#[derive(Debug, Default)]
pub struct Meter(Mutex<Tokens>);

impl Meter {
    pub fn add(&self, tokens: Tokens) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += tokens;
    }

    /// The sum since the last call of this method.
    pub fn take(&self) -> Tokens {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
