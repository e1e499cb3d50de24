//! The outer loop (SEAL §3.1, ReST-EM): a policy learns to write self-edits that teach better.
//!
//! ```text
//! for each round:
//!     E   for contexts drawn by seed: the policy writes k self-edits each;
//!         on each an adapter is trained and asked; what it gained is the reward
//!     M   the policy is fine-tuned on (prompt → self-edit) for those that are kept
//!     the policy is scored on contexts set aside, and published with the score
//! ```
//!
//! Against the paper's code: candidates are trained on the base, where they are served from, not on the
//! policy; the policy stays an adapter and is not merged; several candidates share a batch; a context
//! whose best reward is not positive teaches nothing; and each context's candidates train from the same
//! seeds.
//!
//! Everything finished is a step of the journal, so a killed run goes on and repeats no candidate; every
//! draw has a [seed](seeds) of its own.

mod meter;
pub mod options;
pub mod report;
pub mod reward;
mod scoring;
pub mod seeds;
#[cfg(test)]
mod tests;
mod trials;

use super::domain::{Domain, Queries};
use super::journal::{Journal, Stop, step, step_told};
use super::knowledge::closed_book::Answer;
use super::model::{Adapter, Model, Training, TrainingText};
use meter::Meter;
use options::{Keep, OuterOptions, Reward};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use report::{Candidate, HeldOut, PolicyUpdate, Report, Round};
use reward::Gain;
use seeds::{Draw, seed};
use serde_json::json;
use std::time::Instant;
use trials::{Part, Tried, Trying, halves};

/// Where the policy is kept between rounds.
pub trait Shelf: Sync {
    /// Keeps the adapter with what is known of its training; durable when this returns.
    fn keep(&self, key: &str, policy: &Adapter, about: &PolicyUpdate) -> Result<(), Stop>;
    /// What an earlier life kept.
    fn kept(&self, key: &str) -> Result<Option<(Adapter, PolicyUpdate)>, Stop>;
    /// Makes it the next version; gives its number. Asked again for the same round it may give the
    /// version that it made then.
    fn publish(&self, policy: &Adapter, round: &Round) -> Result<u64, Stop>;
}

/// What a run starts from.
pub struct Start<'a, D: Domain> {
    pub model: &'a dyn Model,
    pub domain: &'a D,
    pub contexts: &'a [D::Context],
    pub options: &'a OuterOptions,
    /// `None`: the base writes.
    pub policy: Option<Adapter>,
    pub journal: &'a dyn Journal,
    pub shelf: &'a dyn Shelf,
}

/// The trained policy (`None`: nothing was ever kept), and how it came to be.
pub struct Outcome {
    pub report: Report,
    pub policy: Option<Adapter>,
    /// The number each round's policy was published under.
    pub versions: Vec<Option<u64>>,
}

pub fn run<D: Domain>(start: &Start<'_, D>) -> Result<Outcome, Stop> {
    let run = Run::new(start);
    let mut unusable = Vec::new();
    let (held_out, practised) = run.set_aside(&mut unusable)?;
    let mut policy = start.policy.clone();
    let mut score = run.score(0, policy.as_ref(), &held_out)?;
    let mut report = Report {
        held_out_contexts: held_out.iter().map(|c| c.index).collect(),
        unusable_contexts: unusable,
        before: score.clone(),
        rounds: Vec::new(),
    };
    let mut versions = Vec::new();
    for nth in 1..=start.options.rounds {
        let clock = Instant::now();
        let contexts = run.contexts_of(nth, &practised, &mut report.unusable_contexts)?;
        let candidates = run.expectation(nth, policy.as_ref(), &contexts)?;
        let kept = keep(&candidates, start.options.keep);
        let taught = run.maximisation(nth, policy.as_ref(), &contexts, &kept)?;
        if let Some((taught, _)) = &taught {
            policy = Some(taught.clone());
            score = run.score(nth, policy.as_ref(), &held_out)?;
        }
        let told = taught.is_some();
        let update = taught.map(|(_, update)| update);
        let round = run.summary(nth, candidates, kept, update, score.clone(), clock);
        let version = run.publish(policy.as_ref().filter(|_| told), &round)?;
        versions.push(version);
        report.rounds.push(round);
    }
    Ok(Outcome {
        report,
        policy,
        versions,
    })
}

struct Run<'a, D: Domain> {
    start: &'a Start<'a, D>,
    meter: Meter,
}

/// A context whose queries are fixed.
struct Prepared<C> {
    index: usize,
    context: C,
}

/// A context of a round, with all that its candidates need.
struct Practised<'a, D: Domain> {
    index: usize,
    context: &'a D::Context,
    before: Vec<Answer>,
    edits: Vec<D::Edit>,
}

/// Sequences generated at once while self-edits are written.
const STREAMS: usize = 16;
/// What counts as a trial besides trials: a context's writing, a kept self-edit's lesson.
const WRITING: f32 = 0.5;

impl<'a, D: Domain> Run<'a, D> {
    fn new(start: &'a Start<'a, D>) -> Self {
        let o = start.options;
        let practised = o.contexts_per_round.min(start.contexts.len()) as f32;
        let trained = match o.reward {
            Reward::Rubric => 0.0,
            _ => (o.candidates * o.repeats) as f32,
        };
        let rounds = o.rounds as f32;
        let scored = (rounds + 1.0) * o.held_out as f32 * (1.0 + WRITING);
        Run {
            start,
            meter: Meter::new(rounds * practised * (trained + 2.0 * WRITING) + scored),
        }
    }

    /// Which contexts are held out, and the others in the order in which they are practised on.
    fn set_aside(
        &self,
        unusable: &mut Vec<usize>,
    ) -> Result<(Vec<Prepared<D::Context>>, Vec<usize>), Stop> {
        let mut order: Vec<usize> = (0..self.start.contexts.len()).collect();
        let order_seed = seed(self.start.options.seed, Draw::Order);
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(order_seed));
        let practised = order.split_off(self.start.options.held_out.min(order.len()));
        let mut held_out = Vec::new();
        for index in order {
            let prepared = self.prepare(index)?;
            match self.before(&prepared, Queries::Report)?.is_empty() {
                false => held_out.push(prepared),
                true => unusable.push(index),
            }
        }
        Ok((held_out, practised))
    }

    /// The round's contexts: the next ones in the order, from its start again when it ends.
    fn contexts_of(
        &self,
        round: usize,
        order: &[usize],
        unusable: &mut Vec<usize>,
    ) -> Result<Vec<Prepared<D::Context>>, Stop> {
        let wanted = self.start.options.contexts_per_round;
        let first = (round - 1) * wanted;
        let mut contexts = Vec::new();
        for nth in 0..order.len() {
            let index = order[(first + nth) % order.len()];
            if contexts.len() == wanted {
                break;
            }
            self.meter.stage(format!("round {round}"));
            let prepared = self.prepare(index)?;
            match self.before(&prepared, Queries::Reward)?.is_empty() {
                false => contexts.push(prepared),
                true if unusable.contains(&index) => {}
                true => unusable.push(index),
            }
        }
        Ok(contexts)
    }

    fn prepare(&self, index: usize) -> Result<Prepared<D::Context>, Stop> {
        let Start {
            domain, contexts, ..
        } = self.start;
        let context = step(self.start.journal, &format!("context:{index}"), || {
            let drawn = seed(self.start.options.seed, Draw::Questions { context: index });
            self.one(|model| Ok(domain.prepare(model, &contexts[index], drawn)?))
        })?;
        Ok(Prepared { index, context })
    }

    /// What the base answers.
    fn before(&self, of: &Prepared<D::Context>, queries: Queries) -> Result<Vec<Answer>, Stop> {
        let key = format!("context:{}:before:{queries:?}", of.index);
        step(self.start.journal, &key, || {
            let domain = self.start.domain;
            self.one(|model| Ok(domain.ask(model, None, &of.context, queries)?))
        })
    }

    fn one<T: Send>(
        &self,
        work: impl Fn(super::model::Interruptible<'_>) -> Result<T, Stop> + Sync,
    ) -> Result<T, Stop> {
        let mut all = self.each(1, 1, |model, _| work(model))?;
        Ok(all.pop().expect("one was asked for"))
    }

    /// E: candidates of every context, with their rewards.
    fn expectation(
        &self,
        round: usize,
        policy: Option<&Adapter>,
        contexts: &[Prepared<D::Context>],
    ) -> Result<Vec<Candidate>, Stop> {
        self.meter.stage(format!("round {round}"));
        let practised = self.write(round, policy, contexts)?;
        let mut candidates = Vec::new();
        for (nth, context) in practised.iter().enumerate() {
            let title = self.start.domain.title(context.context);
            let of = contexts.len();
            let stage = format!("round {round}, context {} of {of} ({title})", nth + 1);
            self.meter.stage(stage);
            candidates.extend(match self.start.options.reward {
                Reward::Rubric => self.marked(round, context)?,
                _ => self.measured(round, context)?,
            });
        }
        Ok(candidates)
    }

    /// The policy's self-edits of every context.
    fn write<'c>(
        &self,
        round: usize,
        policy: Option<&Adapter>,
        contexts: &'c [Prepared<D::Context>],
    ) -> Result<Vec<Practised<'c, D>>, Stop> {
        let (journal, domain, o) = (self.start.journal, self.start.domain, self.start.options);
        let width = (STREAMS / o.candidates).max(1);
        let edits = self.each(contexts.len(), width, |model, i| {
            let Prepared { index, context } = &contexts[i];
            let edits: Vec<D::Edit> = step(journal, &edits_key(round, *index), || {
                let drawn = self.edits_seed(round, *index);
                let written = domain.write(model, policy, context, o.candidates, drawn)?;
                self.meter
                    .tell(journal, "writing", WRITING, "self-edits are written");
                Ok(written)
            })?;
            self.meter.done(WRITING);
            Ok(edits)
        })?;
        let practised = contexts.iter().zip(edits).map(|(c, edits)| {
            Ok(Practised {
                index: c.index,
                context: &c.context,
                before: self.before(c, Queries::Reward)?,
                edits,
            })
        });
        practised.collect()
    }

    fn edits_seed(&self, round: usize, context: usize) -> u64 {
        seed(self.start.options.seed, Draw::Edits { round, context })
    }

    /// The context's candidates, trained and asked.
    fn measured(&self, round: usize, context: &Practised<'_, D>) -> Result<Vec<Candidate>, Stop> {
        let o = self.start.options;
        let all: Vec<usize> = (0..context.edits.len()).collect();
        let trials = if o.halving {
            self.halved(round, context, &all)?
        } else {
            let whole = self.trials(round, context, &all, |_, _| Part::Whole, "")?;
            whole.into_iter().map(|of| (of, false)).collect()
        };
        let mut candidates = Vec::new();
        for (nth, (tried, dropped)) in trials.into_iter().enumerate() {
            let trials: Vec<_> = tried.into_iter().map(|t| t.trial).collect();
            let gain = Gain::of(&context.before, &trials);
            candidates.push(self.told(round, context, nth, |mut candidate| {
                candidate.reward = gain.reward(o.reward);
                candidate.accuracy_gain = Some(gain.accuracy);
                candidate.likelihood_gain = Some(gain.likelihood);
                candidate.dropped = dropped;
                candidate.seconds = trials.iter().map(|t| t.seconds).sum();
                candidate.repeats = trials.iter().map(scoring::repeat).collect();
                Ok(candidate)
            })?);
        }
        Ok(candidates)
    }

    /// The first part for all; the rest for the better half (the odd one stays).
    fn halved(
        &self,
        round: usize,
        context: &Practised<'_, D>,
        all: &[usize],
    ) -> Result<Vec<(Vec<Tried>, bool)>, Stop> {
        let mut first = self.trials(round, context, all, |_, _| Part::First, ":first")?;
        let reward = |tried: &[Tried]| {
            let trials: Vec<_> = tried.iter().map(|t| t.trial.clone()).collect();
            Gain::of(&context.before, &trials).reward(self.start.options.reward)
        };
        let rewards: Vec<f32> = first.iter().map(|t| reward(t)).collect();
        let mut order = all.to_vec();
        order.sort_by(|a, b| rewards[*b].total_cmp(&rewards[*a]));
        order.truncate(all.len().div_ceil(2));
        order.sort();
        let domain = self.start.domain;
        let more = |c: &usize| {
            let training = domain.training(context.context, &context.edits[*c], 0);
            training.is_some_and(|t| halves(t.update.epochs).1 > 0)
        };
        let longer: Vec<usize> = order.iter().copied().filter(more).collect();
        let adapter = |c: usize, r: usize| Part::Rest(first[c][r].adapter.clone());
        let rest = self.trials(round, context, &longer, adapter, "")?;
        for (c, tried) in longer.into_iter().zip(rest) {
            first[c] = tried;
        }
        let whole = first.into_iter().enumerate();
        Ok(whole.map(|(c, t)| (t, !order.contains(&c))).collect())
    }

    /// Every repeat of these candidates: `[candidate][repeat]`.
    fn trials(
        &self,
        round: usize,
        context: &Practised<'_, D>,
        candidates: &[usize],
        part: impl Fn(usize, usize) -> Part,
        suffix: &str,
    ) -> Result<Vec<Vec<Tried>>, Stop> {
        let o = self.start.options;
        let mut trying = Vec::new();
        for &candidate in candidates {
            for repeat in 0..o.repeats {
                let index = context.index;
                let draw = Draw::Repeat {
                    round,
                    context: index,
                    repeat,
                };
                let place = candidate_key(round, index, candidate);
                trying.push(Trying {
                    key: format!("{place}:repeat:{repeat}{suffix}"),
                    context: context.context,
                    edit: &context.edits[candidate],
                    seed: seed(o.seed, draw),
                    queries: Queries::Reward,
                    before: &context.before,
                    part: part(candidate, repeat),
                });
            }
        }
        let mut tried = self.try_all(trying)?.into_iter();
        let of_one = |_| tried.by_ref().take(o.repeats).collect();
        Ok(candidates.iter().map(of_one).collect())
    }

    /// The context's candidates, marked by the base.
    fn marked(&self, round: usize, context: &Practised<'_, D>) -> Result<Vec<Candidate>, Stop> {
        let all = 0..context.edits.len();
        let marked = all.map(|nth| {
            self.told(round, context, nth, |mut candidate| {
                let clock = Instant::now();
                let prompt = self
                    .start
                    .domain
                    .rubric(context.context, &context.edits[nth]);
                let mark = self.one(|model| Ok(reward::rubric(model, &prompt)?))?;
                candidate.reward = mark;
                candidate.rubric = Some(mark);
                candidate.seconds = clock.elapsed().as_secs_f32();
                Ok(candidate)
            })
        });
        marked.collect()
    }

    /// The candidate, finished once and told once.
    fn told(
        &self,
        round: usize,
        context: &Practised<'_, D>,
        nth: usize,
        finish: impl FnOnce(Candidate) -> Result<Candidate, Stop>,
    ) -> Result<Candidate, Stop> {
        let key = candidate_key(round, context.index, nth);
        let tell = |c: &Candidate| {
            let mut data = json!(c);
            data["edit"] = json!(context.edits[nth]);
            data
        };
        step_told(self.start.journal, &key, "candidate", tell, || {
            finish(Candidate {
                round,
                context: context.index,
                title: self.start.domain.title(context.context).to_owned(),
                candidate: nth,
                seed: self.edits_seed(round, context.index) + nth as u64,
                reward: 0.0,
                accuracy_gain: None,
                likelihood_gain: None,
                rubric: None,
                dropped: false,
                repeats: Vec::new(),
                seconds: 0.0,
            })
        })
    }

    /// M: the policy, fine-tuned on what was kept. `None`: nothing was.
    fn maximisation(
        &self,
        round: usize,
        policy: Option<&Adapter>,
        contexts: &[Prepared<D::Context>],
        kept: &[(usize, usize)],
    ) -> Result<Option<(Adapter, PolicyUpdate)>, Stop> {
        if kept.is_empty() {
            return Ok(None);
        }
        let key = format!("round:{round}:policy");
        if let Some(kept) = self.start.shelf.kept(&key)? {
            return Ok(Some(kept));
        }
        let clock = Instant::now();
        self.meter.stage(format!("round {round}, the policy"));
        let texts = self.lessons(round, contexts, kept)?;
        let (sequences, drawn) = (
            texts.len(),
            seed(self.start.options.seed, Draw::Policy { round }),
        );
        let mut update = self.start.options.policy_training.update(drawn);
        if let Some(before) = policy {
            // What continues an adapter keeps its shape.
            let shape = &before.0.config;
            (update.rank, update.alpha) = (shape.rank, shape.alpha);
        }
        let training = Training {
            texts,
            update,
            init: policy.cloned(),
        };
        let trained = self.train(vec![training])?.pop();
        let trained = trained.expect("one adapter for one training");
        self.meter.done(WRITING * contexts.len() as f32);
        let about = PolicyUpdate {
            seed: drawn,
            sequences,
            tokens: trained.tokens,
            loss_first: trained.losses.first().copied(),
            loss_last: trained.losses.last().copied(),
            seconds: clock.elapsed().as_secs_f32(),
        };
        self.start.shelf.keep(&key, &trained.adapter, &about)?;
        Ok(Some((trained.adapter, about)))
    }

    fn lessons(
        &self,
        round: usize,
        contexts: &[Prepared<D::Context>],
        kept: &[(usize, usize)],
    ) -> Result<Vec<TrainingText>, Stop> {
        let mut texts = Vec::new();
        for context in contexts {
            let of_it = kept.iter().filter(|(c, _)| *c == context.index);
            let written = || Err(Stop::Journal("kept self-edits were never written".into()));
            let edits: Vec<D::Edit> = step(
                self.start.journal,
                &edits_key(round, context.index),
                written,
            )?;
            for (_, candidate) in of_it {
                let edit = &edits[*candidate];
                texts.extend(self.start.domain.lesson(&context.context, edit));
            }
        }
        Ok(texts)
    }

    fn summary(
        &self,
        round: usize,
        candidates: Vec<Candidate>,
        kept: Vec<(usize, usize)>,
        policy: Option<PolicyUpdate>,
        held_out: Option<HeldOut>,
        clock: Instant,
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
            reward_kind: self.start.options.reward,
            contexts: by_context.iter().map(|of| of[0].context).collect(),
            reward: mean(&rewards),
            best_reward: mean(&best.collect::<Vec<_>>()),
            reliability: scoring::reliability_of(&by_context, self.start.options.reward),
            kept,
            policy,
            held_out,
            candidates,
            seconds: clock.elapsed().as_secs_f32(),
        }
    }

    /// Publishes a policy that was taught, and tells how the round went.
    fn publish(&self, policy: Option<&Adapter>, round: &Round) -> Result<Option<u64>, Stop> {
        let key = format!("round:{}:told", round.round);
        let tell = |version: &Option<u64>| {
            let mut data = json!(round);
            data["candidates"] = json!(round.candidates.len());
            data["version"] = json!(version);
            data
        };
        step_told(self.start.journal, &key, "round", tell, || {
            policy
                .map(|policy| self.start.shelf.publish(policy, round))
                .transpose()
        })
    }
}

/// (context, candidate) of those whose reward is positive: the best of each context, or all.
fn keep(candidates: &[Candidate], rule: Keep) -> Vec<(usize, usize)> {
    let mut kept = Vec::new();
    for of_context in by_context(candidates) {
        let mut positive: Vec<&Candidate> = of_context
            .into_iter()
            .filter(|c| c.reward > 0.0 && !c.dropped)
            .collect();
        if rule == Keep::Best {
            // The first of equals.
            positive.sort_by(|a, b| b.reward.total_cmp(&a.reward));
            positive.truncate(1);
        }
        kept.extend(positive.iter().map(|c| (c.context, c.candidate)));
    }
    kept
}

/// Candidates come context by context.
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
