//! Scoring: the log-likelihood of given answers, in packed slices.
//!
//! The prompts of one call often start alike (questions on one passage, answers to one question). Such requests
//! form a group. The group's prefix is computed once, into a KV slot, and each member is scored in a fork of that
//! slot. A batch mixes groups: one group's prefix is computed while another group's members are scored.

use super::generation::free;
use super::prefix::{MIN_SHARED, common_prefix};
use super::{Priority, ScoreRequest};
use crate::batch::PackedBatch;
use crate::error::Result;
use crate::executor::{Executor, KvSlot, Score, Target};
use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Weak};

pub(super) struct Scoring {
    pub priority: Priority,
    pub reply: SyncSender<Result<Vec<Vec<Score>>>>,
    /// Dropped when nobody waits for the scores any more.
    caller: Weak<()>,
    requests: Vec<ScoreRequest>,
    scores: Vec<Vec<Score>>,
    /// The groups that are not scored yet.
    groups: Vec<Group>,
    /// Slots of the members in the current batch.
    forks: Vec<KvSlot>,
}

/// Requests whose prompts have their first `shared` tokens in common; 0 for a request without a group.
struct Group {
    shared: usize,
    slot: Option<KvSlot>,
    /// Indices of the requests not yet scored.
    members: VecDeque<usize>,
}

/// The work of one slice.
pub(super) struct Slice {
    /// Tokens computed.
    pub tokens: usize,
    /// Prompt tokens taken from a shared prefix.
    pub cached: usize,
}

impl Scoring {
    /// `share`: whether common prefixes are computed once.
    pub fn new(
        requests: Vec<ScoreRequest>,
        priority: Priority,
        share: bool,
        caller: Weak<()>,
        reply: SyncSender<Result<Vec<Vec<Score>>>>,
    ) -> Self {
        Scoring {
            priority,
            reply,
            caller,
            scores: vec![Vec::new(); requests.len()],
            groups: groups(&requests, share),
            requests,
            forks: Vec::new(),
        }
    }

    pub fn done(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether somebody still waits for the scores.
    pub fn has_caller(&self) -> bool {
        self.caller.strong_count() > 0
    }

    pub fn take(&mut self) -> Vec<Vec<Score>> {
        std::mem::take(&mut self.scores)
    }

    /// Computes as much as fits into `budget` tokens, and at least one answer or a piece of a prefix.
    pub fn slice(&mut self, executor: &mut dyn Executor, budget: usize) -> Result<Slice> {
        let mut batch = PackedBatch::new();
        let mut targets = Vec::new();
        let mut scored = Vec::new(); // indices of requests
        let mut cached = 0;
        'full: for group in &mut self.groups {
            let Some(head) = group.members.front().map(|i| &self.requests[*i]) else {
                continue;
            };
            if group.shared > 0 {
                let slot = *group.slot.get_or_insert_with(|| executor.kv_new());
                let held = executor.kv_len(slot);
                if held < group.shared {
                    let room = budget.saturating_sub(batch.tokens.len());
                    if room == 0 && !batch.tokens.is_empty() {
                        break 'full;
                    }
                    let end = group.shared.min(held + room.max(1));
                    batch.push(&head.prompt[held..end], held, Some(slot), &head.adapters);
                    // The other members need not compute these tokens.
                    cached += (end - held) * (group.members.len() - 1);
                    continue;
                }
            }
            while let Some(index) = group.members.front().copied() {
                let request = &self.requests[index];
                let rows = request.prompt.len() + request.answer.len() - 1 - group.shared;
                if !batch.tokens.is_empty() && batch.tokens.len() + rows > budget {
                    break 'full;
                }
                let fork = (group.slot).map(|slot| executor.kv_fork(slot, group.shared));
                self.forks.extend(fork);
                targets.extend(push(&mut batch, request, group.shared, fork));
                scored.push(index);
                group.members.pop_front();
            }
        }
        if batch.tokens.is_empty() {
            // Nothing was asked; the reply shows that the engine's thread is alive.
            return Ok(Slice {
                tokens: 0,
                cached: 0,
            });
        }
        let scores = match targets.is_empty() {
            true => executor.forward(&batch, &[]).map(|_| Vec::new())?,
            false => executor.score(&batch, &targets)?,
        };
        let mut scores = scores.into_iter();
        for index in scored {
            let length = self.requests[index].answer.len();
            self.scores[index] = scores.by_ref().take(length).collect();
        }
        self.forks.drain(..).for_each(|fork| free(executor, fork));
        let over = self.groups.extract_if(.., |g| g.members.is_empty());
        over.filter_map(|g| g.slot).for_each(|s| free(executor, s));
        Ok(Slice {
            tokens: batch.tokens.len(),
            cached,
        })
    }

    pub fn slots(&self) -> impl Iterator<Item = KvSlot> {
        let of_groups = self.groups.iter().filter_map(|g| g.slot);
        of_groups.chain(self.forks.iter().copied())
    }

    /// Frees every slot, after a slice failed or the caller went away.
    pub fn abandon(&mut self, executor: &mut dyn Executor) {
        let of_groups = self.groups.drain(..).filter_map(|g| g.slot);
        let slots = of_groups.chain(self.forks.drain(..));
        slots.for_each(|slot| free(executor, slot));
    }
}

/// Appends the request's tokens after its first `held` ones, except its last token, which is only predicted.
/// Returns the targets of the answer's tokens.
fn push(
    batch: &mut PackedBatch,
    request: &ScoreRequest,
    held: usize,
    slot: Option<KvSlot>,
) -> impl Iterator<Item = Target> {
    let ScoreRequest { prompt, answer, .. } = request;
    let inputs = [&prompt[held..], &answer[..answer.len() - 1]].concat();
    let rows = batch.push(&inputs, held, slot, &request.adapters);
    let first = rows.start + prompt.len() - held - 1;
    (answer.iter().zip(first..)).map(|(token, row)| Target {
        row,
        token: *token,
        weight: 1.0,
    })
}

/// Sorts the requests so that similar prompts are neighbours. A neighbour joins a group if that saves more tokens
/// than it costs by shortening the group's prefix.
fn groups(requests: &[ScoreRequest], share: bool) -> Vec<Group> {
    let stack = |r: &ScoreRequest| r.adapters.iter().map(Arc::as_ptr).collect::<Vec<_>>();
    let answered = |i: &usize| !requests[*i].answer.is_empty();
    let mut order: Vec<usize> = (0..requests.len()).filter(answered).collect();
    if share {
        order.sort_by_cached_key(|i| (stack(&requests[*i]), &requests[*i].prompt));
    }
    let mut groups: Vec<Group> = Vec::new();
    for index in order {
        let request = &requests[index];
        if let Some(group) = groups.last_mut().filter(|_| share) {
            let head = &requests[group.members[0]];
            // The row that predicts an answer's first token is each member's own.
            let both = common_prefix(&head.prompt, &request.prompt).min(request.prompt.len() - 1);
            let (before, shared) = match group.members.len() {
                1 => (0, both.min(head.prompt.len() - 1)),
                members => ((members - 1) * group.shared, both.min(group.shared)),
            };
            let saves = group.members.len() * shared > before;
            if saves && shared >= MIN_SHARED && stack(head) == stack(request) {
                group.shared = shared;
                group.members.push_back(index);
                continue;
            }
        }
        groups.push(Group {
            shared: 0,
            slot: None,
            members: [index].into(),
        });
    }
    groups
}
