//! The trait that the outer loop asks of a kind of task. The loop knows no kind; [`super::domains`]
//! implements the trait for passages and for few-shot tasks.
//!
//! ```text
//! context C ─prepare─► C with its queries τ fixed
//!           ─write───► self-edits SE, by the policy            (each with a seed of its own)
//!           ─training► what the inner loop trains on SE
//!           ─ask─────► answers to τ, with the trained adapter   → reward
//!           ─lesson──► (prompt → SE): what the policy learns if SE was kept
//! ```

use crate::learn::knowledge::closed_book::Answer;
use crate::learn::knowledge::sequences::CountTokens;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{Adapter, ModelError, Prompt, Training, TrainingText};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Which queries are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queries {
    /// The queries that candidates are rewarded by.
    Reward,
    /// The queries that results are reported on: the gold queries, if there are any.
    Report,
}

/// One kind of task. Every method is a function of its arguments and seeds, so that every number can be
/// computed again.
pub trait Domain: Sync {
    /// The context C, which self-edits are written from.
    type Context: Serialize + DeserializeOwned + Clone + Send + Sync;
    /// The self-edit SE, which the policy writes from the context.
    type Edit: Serialize + DeserializeOwned + Clone + Send + Sync;

    /// The context's name in events and reports.
    fn title<'a>(&self, context: &'a Self::Context) -> &'a str;

    /// Fixes the queries before anything is trained.
    fn prepare(
        &self,
        model: Interruptible<'_>,
        context: &Self::Context,
        seed: u64,
    ) -> Result<Self::Context, ModelError>;

    /// `count` self-edits by the policy; without a policy, by the base. The nth equals the one that `seed + n`
    /// alone would give.
    fn write(
        &self,
        model: Interruptible<'_>,
        policy: Option<&Adapter>,
        context: &Self::Context,
        count: usize,
        seed: u64,
    ) -> Result<Vec<Self::Edit>, ModelError>;

    /// The self-edit that adds nothing to the context. `None` where nothing is learned without one.
    fn bare(&self, context: &Self::Context) -> Option<Self::Edit>;

    /// The inner-loop training, from the base, of the adapter that will be asked these queries. `None`: nothing
    /// can be trained on the edit, and the base's answers stand for its own.
    fn training(
        &self,
        context: &Self::Context,
        edit: &Self::Edit,
        queries: Queries,
        seed: u64,
        tokens: &CountTokens<'_>,
    ) -> Option<Training>;

    /// The answers to the context's queries, with the context out of sight. `samples`: a seed; each answer then
    /// has its expected accuracy too, over answers drawn from that seed.
    fn ask(
        &self,
        model: Interruptible<'_>,
        adapter: Option<&Adapter>,
        context: &Self::Context,
        queries: Queries,
        samples: Option<u64>,
    ) -> Result<Vec<Answer>, ModelError>;

    /// The sequences that fine-tune the policy if the edit is kept: prompt → edit.
    fn lesson(&self, context: &Self::Context, edit: &Self::Edit) -> Vec<TrainingText>;

    /// The prompt that asks for the edit's mark: a digit from 1 (useless) to 5 (excellent).
    fn rubric(&self, context: &Self::Context, edit: &Self::Edit) -> Prompt;
}
