//! The policy's score on held-out contexts, and the figures of a round.

use super::options::Reward;
use super::report::{Candidate, HeldOut, HeldOutScore, Repeat, Trial};
use super::reward::{Gain, reliability};
use super::seeds::{Draw, seed};
use super::trials::{Part, TrialSpec};
use super::{Prepared, Run, WRITING};
use crate::learn::knowledge::closed_book::{Answer, accuracy, mean_expected, mean_logprob};
use crate::learn::outer::domain::{Domain, Queries};
use crate::learn::ports::journal::{Interrupted, step, step_with_event};
use crate::learn::ports::model::Adapter;
use crate::learn::stats::estimate;
use serde_json::json;
use std::time::Instant;

impl<D: Domain> Run<'_, D> {
    /// The policy's score: it writes one self-edit for every held-out context, an adapter is trained on the self-edit,
    /// and the adapter is asked. All rounds use the same seeds, so only the policy differs. `None` without held-out
    /// contexts.
    pub(super) fn score(
        &self,
        round: usize,
        policy: Option<&Adapter>,
        held_out: &[Prepared<D::Context>],
    ) -> Result<Option<HeldOut>, Interrupted> {
        if held_out.is_empty() {
            return Ok(None);
        }
        let tell = |h: &HeldOut| {
            let mut data = json!(h);
            data["round"] = json!(round);
            data
        };
        let key = format!("held_out:{round}");
        step_with_event(self.input.journal, &key, "held_out", tell, || {
            self.score_now(round, policy, held_out)
        })
        .map(Some)
    }

    fn score_now(
        &self,
        round: usize,
        policy: Option<&Adapter>,
        held_out: &[Prepared<D::Context>],
    ) -> Result<HeldOut, Interrupted> {
        let clock = Instant::now();
        self.meter.stage(match round {
            0 => "held-out contexts, before".to_owned(),
            _ => format!("held-out contexts, after round {round}"),
        });
        let (journal, domain) = (self.input.journal, self.input.domain);
        let drawn = |context| seed(self.input.options.seed, Draw::HeldOut { context });
        let place = |index: usize| format!("held_out:{round}:context:{index}");
        let edits = self.each(held_out.len(), super::STREAMS, |model, i| {
            let Prepared { index, context } = &held_out[i];
            let edits: Vec<D::Edit> = step(journal, &format!("{}:edit", place(*index)), || {
                Ok(domain.write(model, policy, context, 1, drawn(*index))?)
            })?;
            self.meter.done(WRITING);
            Ok(edits)
        })?;
        let before: Vec<Vec<Answer>> = held_out
            .iter()
            .map(|c| self.before(c, Queries::Report))
            .collect::<Result<_, _>>()?;
        let trying = held_out.iter().zip(&edits).zip(&before);
        let trying = trying.filter_map(|((prepared, edits), before)| {
            Some(TrialSpec {
                key: place(prepared.index),
                context: &prepared.context,
                edit: edits.first()?,
                seed: drawn(prepared.index),
                queries: Queries::Report,
                before,
                part: Part::Whole,
            })
        });
        let tried = self.try_all(trying.collect())?;
        let scored = held_out.iter().zip(&edits).zip(&before);
        let scored = scored.filter(|((_, edits), _)| !edits.is_empty());
        let rows: Vec<ScoredContext> = scored
            .zip(&tried)
            .map(|(((prepared, _), before), tried)| {
                let after = &tried.trial.answers;
                let title = domain.title(&prepared.context);
                let score = HeldOutScore {
                    context: prepared.index,
                    title: title.to_owned(),
                    seed: tried.trial.seed,
                    before: right(before),
                    after: right(after),
                    queries: before.len(),
                    likelihood_gain: mean_logprob(after) - mean_logprob(before),
                    seconds: tried.trial.seconds,
                };
                let gains = before.iter().zip(after);
                let gains = gains.map(|(b, a)| a.correct as u8 as f32 - b.correct as u8 as f32);
                ScoredContext {
                    score,
                    gains: gains.collect(),
                    before: accuracy(before),
                    after: accuracy(after),
                }
            })
            .collect();
        // Every question has the same weight, as in the gain.
        let queries = rows.iter().map(|r| r.score.queries).sum::<usize>().max(1) as f32;
        let mean = |of: fn(&ScoredContext) -> f32| {
            let weighted = rows.iter().map(|r| of(r) * r.score.queries as f32);
            weighted.sum::<f32>() / queries
        };
        let clusters: Vec<Vec<f32>> = rows.iter().map(|r| r.gains.clone()).collect();
        Ok(HeldOut {
            gain: estimate(&clusters),
            accuracy_before: mean(|r| r.before),
            accuracy_after: mean(|r| r.after),
            likelihood_gain: mean(|r| r.score.likelihood_gain),
            contexts: rows.len(),
            seconds: clock.elapsed().as_secs_f32(),
            scores: rows.into_iter().map(|r| r.score).collect(),
        })
    }
}

/// The score of one held-out context.
struct ScoredContext {
    score: HeldOutScore,
    /// Gain in accuracy for each query: 1, 0 or -1.
    gains: Vec<f32>,
    before: f32,
    after: f32,
}

pub(super) fn repeat(trial: &Trial) -> Repeat {
    let sampled = trial.answers.iter().any(|a| a.expected.is_some());
    Repeat {
        seed: trial.seed,
        epochs: trial.epochs,
        right: right(&trial.answers),
        queries: trial.answers.len(),
        logprob: mean_logprob(&trial.answers),
        expected: sampled.then(|| mean_expected(&trial.answers)),
    }
}

/// The reliability of a single repeat's reward (ICC(3,1)), over the candidates that were trained in full. `None`:
/// see [`reliability`].
pub(super) fn reliability_of(by_context: &[Vec<&Candidate>], kind: Reward) -> Option<f32> {
    let rewards: Vec<Vec<Vec<f32>>> = by_context
        .iter()
        .map(|of| {
            let whole = of.iter().filter(|c| !c.dropped && !c.repeats.is_empty());
            whole.map(|c| rewards_of(c, kind)).collect()
        })
        .collect();
    reliability(&rewards).map(|r| r.single)
}

/// The reward of each repeat by itself, up to a constant that all candidates of the context share.
fn rewards_of(candidate: &Candidate, kind: Reward) -> Vec<f32> {
    let repeats = &candidate.repeats;
    let mean = repeats.iter().map(|r| r.logprob).sum::<f32>() / repeats.len() as f32;
    let before = mean - candidate.likelihood_gain.unwrap_or_default();
    let of_repeat = |r: &Repeat| {
        let step = 1.0 / r.queries.max(1) as f32;
        let accuracy = r.right as f32 * step;
        let gain = Gain {
            accuracy,
            likelihood: r.logprob - before,
            expected: r.expected.unwrap_or(accuracy),
            step,
        };
        gain.reward(kind)
    };
    repeats.iter().map(of_repeat).collect()
}

fn right(answers: &[Answer]) -> usize {
    answers.iter().filter(|a| a.correct).count()
}
