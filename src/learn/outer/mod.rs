//! The outer loop (SEAL §3.1, ReST-EM): a policy learns to write self-edits that teach better.
//!
//! ```text
//! for each round:
//!     E   for contexts drawn by seed: the policy writes k self-edits each;
//!         an adapter is trained on each and asked; its gain is the reward
//!     M   the policy is fine-tuned on (prompt → self-edit) for those that are kept
//!     the policy is scored on contexts set aside, and published with the score
//! ```
//!
//! Differences from the paper's code:
//!
//! - Candidates are trained on the base, which serves them later, not on the policy.
//! - The policy stays an adapter and is not merged.
//! - Several candidates share a batch.
//! - A context whose best reward is not positive teaches nothing.
//! - All candidates of a context train from the same seeds.
//!
//! Every finished part is a step of the journal, so a resumed run repeats no candidate. Every draw has a [seed](seeds)
//! of its own.

pub mod domain;
pub mod domains;
mod expectation;
mod maximisation;
mod meter;
pub mod options;
pub mod report;
pub mod reward;
mod scoring;
pub mod seeds;
mod size;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod toy;
mod trials;
mod workers;
#[cfg(test)]
mod workers_tests;

use super::knowledge::closed_book::Answer;
use super::ports::journal::{Interrupted, Journal, step, step_with_event};
use super::ports::model::{Adapter, Model};
use super::ports::tasks::TaskQueue;
use domain::{Domain, Queries};
use meter::Meter;
use options::{Baseline, Keep, OuterOptions, Reward};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use report::{Candidate, HeldOut, PolicyUpdate, Report, Round};
use seeds::{Draw, seed};
use serde_json::json;
use std::sync::Arc;
use trials::HALVED;
use workers::Held;

/// The storage of a run's policies.
pub trait PolicyStore: Sync {
    /// Saves the policy of a round under its key, with the figures of its training. Durable on return.
    fn save(&self, key: &str, policy: &Adapter, about: &PolicyUpdate) -> Result<(), Interrupted>;
    /// The policy that was saved under the key, maybe before a crash.
    fn load(&self, key: &str) -> Result<Option<(Adapter, PolicyUpdate)>, Interrupted>;
    /// Publishes the policy as the next version and gives the version's number. A second call for the same round may
    /// give the version of the first call. `practised`: the contexts of this run that the policy
    /// has seen so far.
    fn publish(
        &self,
        policy: &Adapter,
        round: &Round,
        practised: &[usize],
    ) -> Result<u64, Interrupted>;
}

/// The input of a run.
pub struct OuterLoop<'a, D: Domain> {
    /// The engine that writes self-edits, fine-tunes the policy, scores, and measures candidates as the first worker.
    pub model: &'a dyn Model,
    /// Further engines of the same base, which only measure candidates.
    pub others: &'a [&'a dyn Model],
    /// The queue that the workers take contexts from; no other run uses it.
    pub tasks: &'a dyn TaskQueue,
    pub domain: &'a D,
    pub contexts: &'a [D::Context],
    pub options: &'a OuterOptions,
    /// The policy at the start; `None`: the base.
    pub policy: Option<Adapter>,
    /// Contexts that the policy practised on before this run: none of them is held out, and they come last.
    pub practised: &'a [usize],
    pub journal: &'a dyn Journal,
    pub policies: &'a dyn PolicyStore,
}

/// The result of a run.
pub struct OuterOutcome {
    pub report: Report,
    /// The policy at the end; `None`: the base, because no round kept a self-edit.
    pub policy: Option<Adapter>,
    /// The version of each round's policy; `None`: the round kept no self-edit.
    pub versions: Vec<Option<u64>>,
}

/// Runs all rounds. Fails as [`Interrupted`] when the journal says stop; a later run with the same journal goes
/// on from there.
pub fn run<D: Domain>(input: &OuterLoop<'_, D>) -> Result<OuterOutcome, Interrupted> {
    let run = Run::new(input);
    let mut unusable = Vec::new();
    let (set_aside, order) = run.draw();
    let held_out = run.set_aside(set_aside, &mut unusable)?;
    let mut policy = input.policy.clone();
    let mut score = run.score(0, policy.as_ref(), &held_out)?;
    let mut report = Report {
        held_out_contexts: held_out.iter().map(|c| c.index).collect(),
        unusable_contexts: unusable,
        before: score.clone(),
        rounds: Vec::new(),
    };
    let mut versions = Vec::new();
    let mut next = 0;
    for nth in 1..=input.options.rounds {
        let size = run.size(nth, &report)?;
        run.meter.stage(format!("round {nth}"));
        let unusable = &mut report.unusable_contexts;
        let contexts = run.next_contexts(size, &order, &mut next, unusable)?;
        let candidates = run.expectation(nth, policy.as_ref(), &contexts)?;
        let teaching = run.teaching(nth, &contexts)?;
        let teaches = |c: &Candidate| teaching.contains(&(c.context, c.candidate));
        let kept = keep(&candidates, input.options.keep, teaches);
        let taught = run.maximisation(nth, policy.as_ref(), &contexts, &kept)?;
        if let Some((taught, _)) = &taught {
            policy = Some(taught.clone());
            score = run.score(nth, policy.as_ref(), &held_out)?;
        }
        let updated = taught.is_some();
        let update = taught.map(|(_, update)| update);
        let round = run.summary(nth, candidates, kept, update, score.clone());
        report.rounds.push(round);
        versions.push(run.publish(policy.as_ref().filter(|_| updated), &mut report.rounds)?);
    }
    Ok(OuterOutcome {
        report,
        policy,
        versions,
    })
}

struct Run<'a, D: Domain> {
    input: &'a OuterLoop<'a, D>,
    /// This worker's engine.
    model: &'a dyn Model,
    meter: Arc<Meter>,
    /// The task that this worker holds.
    held: Option<Held>,
}

/// A context whose queries are fixed.
struct Prepared<C> {
    index: usize,
    context: C,
}

/// Sequences generated at once while self-edits are written.
const STREAMS: usize = 16;
/// The work of writing a context's self-edits, and of learning its kept ones, in trials.
const WRITING: f32 = 0.5;

impl<'a, D: Domain> Run<'a, D> {
    fn new(input: &'a OuterLoop<'a, D>) -> Self {
        let o = input.options;
        let practised = o.rounds * o.contexts_per_round.min(input.contexts.len());
        Run {
            input,
            model: input.model,
            meter: Arc::new(Meter::new(work(o, practised))),
            held: None,
        }
    }

    /// Sets the expected work from the number of contexts in all rounds together.
    fn expect(&self, practised: usize) {
        self.meter.expect(work(self.input.options, practised));
    }

    /// The indices of the held-out contexts, and the other contexts in the order of practice.
    fn draw(&self) -> (Vec<usize>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.input.contexts.len()).collect();
        let drawn = seed(self.input.options.seed, Draw::Order);
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(drawn));
        let seen = |context: &usize| self.input.practised.contains(context);
        let unseen = order.iter().filter(|c| !seen(c)).count();
        order.sort_by_key(seen);
        let others = order.split_off(self.input.options.held_out.min(unseen));
        (order, others)
    }

    fn set_aside(
        &self,
        drawn: Vec<usize>,
        unusable: &mut Vec<usize>,
    ) -> Result<Vec<Prepared<D::Context>>, Interrupted> {
        let mut held_out = Vec::new();
        self.meter.stage("before round 1".into());
        for index in drawn {
            let prepared = self.prepare(index)?;
            match self.before(&prepared, Queries::Report)?.is_empty() {
                false => held_out.push(prepared),
                true => unusable.push(index),
            }
        }
        Ok(held_out)
    }

    /// The contexts of a round, taken from position `next` of the order, which starts again at its end.
    fn next_contexts(
        &self,
        wanted: usize,
        order: &[usize],
        next: &mut usize,
        unusable: &mut Vec<usize>,
    ) -> Result<Vec<Prepared<D::Context>>, Interrupted> {
        let mut contexts = Vec::new();
        for _ in 0..order.len() {
            if contexts.len() == wanted {
                break;
            }
            let index = order[*next % order.len()];
            *next += 1;
            let prepared = self.prepare(index)?;
            match self.before(&prepared, Queries::Reward)?.is_empty() {
                false => contexts.push(prepared),
                true if unusable.contains(&index) => {}
                true => unusable.push(index),
            }
        }
        Ok(contexts)
    }

    /// Reports the asking. It is not called for recalled answers, since the time estimate starts at a process's first
    /// message.
    fn tell_asking(&self, context: &D::Context, what: &str) {
        let message = format!("{what} ({})", self.input.domain.title(context));
        self.meter.tell(self.input.journal, "asking", 0.0, &message);
    }

    fn prepare(&self, index: usize) -> Result<Prepared<D::Context>, Interrupted> {
        let OuterLoop {
            domain, contexts, ..
        } = self.input;
        let context = step(self.input.journal, &format!("context:{index}"), || {
            self.tell_asking(&contexts[index], "what is asked is made ready");
            let drawn = seed(self.input.options.seed, Draw::Questions { context: index });
            self.one(|model| Ok(domain.prepare(model, &contexts[index], drawn)?))
        })?;
        Ok(Prepared { index, context })
    }

    /// The base's answers to the queries.
    fn before(
        &self,
        of: &Prepared<D::Context>,
        queries: Queries,
    ) -> Result<Vec<Answer>, Interrupted> {
        let key = format!("context:{}:before:{queries:?}", of.index);
        step(self.input.journal, &key, || {
            self.tell_asking(&of.context, "the base is asked");
            let domain = self.input.domain;
            let draw = Draw::Before { context: of.index };
            let samples = self.samples(queries, || seed(self.input.options.seed, draw));
            self.one(|model| Ok(domain.ask(model, None, &of.context, queries, samples)?))
        })
    }

    /// The seed for sampled answers; `None`: greedy answers alone. Results are reported on greedy answers, whatever the
    /// reward.
    fn samples(&self, queries: Queries, seed: impl FnOnce() -> u64) -> Option<u64> {
        let sampled = queries == Queries::Reward && self.input.options.reward == Reward::Expected;
        sampled.then(seed)
    }

    fn one<T: Send>(
        &self,
        work: impl Fn(super::ports::interruptible::Interruptible<'_>) -> Result<T, Interrupted> + Sync,
    ) -> Result<T, Interrupted> {
        let mut all = self.each(1, 1, |model, _| work(model))?;
        Ok(all.pop().expect("one was asked for"))
    }

    fn summary(
        &self,
        round: usize,
        candidates: Vec<Candidate>,
        kept: Vec<(usize, usize)>,
        policy: Option<PolicyUpdate>,
        held_out: Option<HeldOut>,
    ) -> Round {
        let by_context = by_context(&candidates);
        let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len().max(1) as f32;
        let rewards: Vec<f32> = candidates.iter().map(|c| c.reward).collect();
        let best = by_context.iter().map(|of| {
            let rewards = of.iter().map(|c| c.reward);
            rewards.fold(f32::MIN, f32::max)
        });
        Round {
            round,
            reward_kind: self.input.options.reward,
            baseline: self.input.options.baseline,
            contexts: by_context.iter().map(|of| of[0].context).collect(),
            reward: mean(&rewards),
            best_reward: mean(&best.collect::<Vec<_>>()),
            reliability: scoring::reliability_of(&by_context, self.input.options.reward),
            kept,
            policy,
            held_out,
            candidates,
        }
    }

    /// Publishes the policy, if the last round fine-tuned it, and sends the round's event. A resumed run recalls both,
    /// with the round as it was then.
    fn publish(
        &self,
        policy: Option<&Adapter>,
        rounds: &mut [Round],
    ) -> Result<Option<u64>, Interrupted> {
        let practised: Vec<usize> = rounds.iter().flat_map(|r| r.contexts.clone()).collect();
        let round = rounds.last_mut().expect("a round was made");
        let key = format!("round:{}:told", round.round);
        let tell = |(round, version): &(Round, Option<u64>)| {
            let mut data = json!(round);
            data["candidates"] = json!(round.candidates.len());
            data["version"] = json!(version);
            data
        };
        let (stored, version) = step_with_event(self.input.journal, &key, "round", tell, || {
            let publish = |policy| self.input.policies.publish(policy, round, &practised);
            let version = policy.map(publish).transpose()?;
            Ok((round.clone(), version))
        })?;
        *round = stored;
        Ok(version)
    }
}

/// The work of the whole run with this many contexts in all rounds together, in trials.
fn work(o: &OuterOptions, practised: usize) -> f32 {
    let scored = (o.rounds + 1) * o.held_out;
    practised as f32 * (trials_of_context(o) + 2.0 * WRITING) + scored as f32 * (1.0 + WRITING)
}

/// The work of a context's candidates and of their baseline, in trials.
fn trials_of_context(o: &OuterOptions) -> f32 {
    let all = (o.candidates * o.repeats) as f32;
    let bare = match o.baseline {
        Baseline::Base => 0.0,
        Baseline::ContextAlone => o.repeats as f32,
    };
    match o.reward {
        Reward::Rubric => 0.0,
        _ if o.halving => HALVED * all + bare,
        _ => all + bare,
    }
}

/// (context, candidate) of the self-edits to keep: the best of each context, or all, among those whose reward is
/// positive, that halving did not drop, and that have something to teach.
fn keep(
    candidates: &[Candidate],
    rule: Keep,
    teaches: impl Fn(&Candidate) -> bool,
) -> Vec<(usize, usize)> {
    let mut kept = Vec::new();
    for of_context in by_context(candidates) {
        let mut positive: Vec<&Candidate> = of_context
            .into_iter()
            .filter(|c| c.reward > 0.0 && !c.dropped && teaches(c))
            .collect();
        if rule == Keep::Best {
            // Among equals the first is kept.
            positive.sort_by(|a, b| b.reward.total_cmp(&a.reward));
            positive.truncate(1);
        }
        kept.extend(positive.iter().map(|c| (c.context, c.candidate)));
    }
    kept
}

/// Groups candidates by context; candidates of one context are adjacent.
fn by_context(candidates: &[Candidate]) -> Vec<Vec<&Candidate>> {
    let of_one = candidates.chunk_by(|a, b| a.context == b.context);
    of_one.map(|c| c.iter().collect()).collect()
}

fn edits_key(round: usize, context: usize) -> String {
    format!("round:{round}:context:{context}:edits")
}

fn candidate_key(round: usize, context: usize, candidate: usize) -> String {
    format!("round:{round}:context:{context}:candidate:{candidate}")
}
