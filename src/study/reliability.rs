//! The reliability and the cost of each reward. The same candidates are measured several times, from new seeds.
//! Differences between the candidates of a context are signal. An effect of a repeat on all of them alike is neither
//! signal nor noise. The remaining differences are noise.

use crate::learn::fan_out;
use crate::learn::knowledge::closed_book::{
    ANSWER_TOKENS, Answer, accuracy, closed_book, expected, graded, mean_expected, mean_logprob,
};
use crate::learn::knowledge::self_edit::SelfEdit;
use crate::learn::outer::domain::{Domain, Queries};
use crate::learn::outer::domains::knowledge::{KnowledgeContext, KnowledgeOptions};
use crate::learn::outer::options::Reward;
use crate::learn::outer::reward::{Gain, Reliability, reliability, rubric};
use crate::learn::outer::seeds::{Draw, seed};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::{Interrupted, Journal, step};
use crate::learn::ports::model::{Model, Sampling, Training};
use crate::learn::stats::{Estimate, estimate};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The size of the study.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Size {
    /// Candidates of each context.
    pub candidates: usize,
    /// Trainings of each candidate.
    pub repeats: usize,
    /// Trainings in one batch.
    pub pack: usize,
    pub seed: u64,
}

/// A row of the table: one kind of reward.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RewardRow {
    pub reward: Reward,
    /// `None`: there was one repeat, or the reward did not vary between candidates.
    pub reliability: Option<Reliability>,
    /// Pearson correlation of the candidates' mean reward with their mean gain in accuracy, within contexts. `None`:
    /// one of the two did not vary.
    pub with_accuracy: Option<f32>,
    /// The worth of choosing by this reward: the accuracy of the best candidate by one measurement, in the *other*
    /// measurements, minus the mean accuracy of all candidates there. Mean over measurements and contexts; the interval
    /// comes from resampling contexts.
    pub chosen: Estimate,
    /// Wall-clock seconds of one measurement of one candidate.
    pub seconds: f32,
}

/// One candidate, measured `repeats` times.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub context: usize,
    pub candidate: usize,
    pub seed: u64,
    /// For each repeat, the rewards of the kinds in [`MEASURED`].
    pub repeats: Vec<[f32; MEASURED.len()]>,
    /// The base's mark, 0 to 1.
    pub rubric: f32,
    pub seconds: Cost,
}

/// The kinds of reward that need a training.
const MEASURED: [Reward; 4] = [
    Reward::Accuracy,
    Reward::Likelihood,
    Reward::Combined,
    Reward::Expected,
];

/// Seconds of one measurement, by activity. The cost of a reward is the sum of the activities that it needs.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Cost {
    training: f32,
    answering: f32,
    scoring: f32,
    sampling: f32,
    marking: f32,
}

/// Measures the candidates of all cases. Gives the table, a row per kind of reward, and the measurements it is made of.
/// Stored measurements are not repeated. Fails as [`Interrupted`] when the journal says stop or the model fails.
pub fn study(
    model: &dyn Model,
    domain: &KnowledgeOptions,
    cases: &[KnowledgeContext],
    size: Size,
    journal: &dyn Journal,
) -> Result<(Vec<RewardRow>, Vec<Measured>), Interrupted> {
    let mut measured = Vec::new();
    for (context, case) in cases.iter().enumerate() {
        let share = context as f32 / cases.len() as f32;
        let message = format!("context {} of {}", context + 1, cases.len());
        journal.progress("reward", share, &message);
        let key = format!("reliability:{context}");
        let of_it = || measure(model, domain, context, case, size, journal);
        measured.extend(step::<Vec<Measured>>(journal, &key, of_it)?);
    }
    let rows = Reward::ALL.map(|reward| row(reward, &measured));
    Ok((rows.into(), measured))
}

/// A context with its candidates and the base's answers.
#[derive(Serialize, Deserialize)]
struct PreparedContext {
    case: KnowledgeContext,
    edits: Vec<SelfEdit>,
    before: Vec<Answer>,
}

/// The results of one batch: for each training the rewards of the kinds in [`MEASURED`], and the seconds of the whole
/// batch.
#[derive(Serialize, Deserialize)]
struct Pack {
    gains: Vec<[f32; MEASURED.len()]>,
    cost: Cost,
}

/// The source of a context's seeds.
#[derive(Clone, Copy)]
struct Seeds {
    first: u64,
    context: usize,
}

impl Seeds {
    fn of(self, draw: Draw) -> u64 {
        seed(self.first, draw)
    }

    /// The training seed of a repeat, which is the same for all candidates.
    fn repeat(self, repeat: usize) -> u64 {
        let (round, context) = (1, self.context);
        self.of(Draw::Repeat {
            round,
            context,
            repeat,
        })
    }
}

/// Measures all candidates of one context.
fn measure(
    model: &dyn Model,
    domain: &KnowledgeOptions,
    context: usize,
    case: &KnowledgeContext,
    size: Size,
    journal: &dyn Journal,
) -> Result<Vec<Measured>, Interrupted> {
    let stop = || journal.check().is_err();
    let asker = Interruptible::new(model, &stop);
    let seeds = Seeds {
        first: size.seed,
        context,
    };
    let written = step(journal, &format!("reliability:{context}:written"), || {
        let case = domain.prepare(asker, case, seeds.of(Draw::Questions { context }))?;
        let (mut edits, mut before) = (Vec::new(), Vec::new());
        if !case.probes.is_empty() {
            let drawn = seeds.of(Draw::Edits { round: 1, context });
            edits = domain.write(asker, None, &case, size.candidates, drawn)?;
            let sampled = seeds.of(Draw::Before { context });
            before = domain.ask(asker, None, &case, Queries::Reward, Some(sampled))?;
        }
        Ok(PreparedContext {
            case,
            edits,
            before,
        })
    })?;
    let PreparedContext { case, edits, .. } = &written;
    let trials: Vec<(usize, usize)> = (0..edits.len())
        .flat_map(|c| (0..size.repeats).map(move |r| (c, r)))
        .collect();
    let mut gains = vec![Vec::new(); edits.len()];
    let mut cost = Cost::default();
    for (nth, pack) in trials.chunks(size.pack.max(1)).enumerate() {
        let key = format!("reliability:{context}:pack:{nth}");
        let of_it = || measure_pack(model, domain, &written, pack, seeds, journal);
        let measured: Pack = step(journal, &key, of_it)?;
        for ((candidate, _), gain) in pack.iter().zip(measured.gains) {
            gains[*candidate].push(gain);
        }
        cost.training += measured.cost.training;
        cost.answering += measured.cost.answering;
        cost.scoring += measured.cost.scoring;
        cost.sampling += measured.cost.sampling;
    }
    let clock = Instant::now();
    let marks = fan_out::each(edits.len(), edits.len(), |i| {
        let asker = Interruptible::new(model, &stop);
        rubric(asker, &domain.rubric(case, &edits[i]))
    })?;
    let trials = trials.len().max(1) as f32;
    let each = Cost {
        training: cost.training / trials,
        answering: cost.answering / trials,
        scoring: cost.scoring / trials,
        sampling: cost.sampling / trials,
        marking: clock.elapsed().as_secs_f32() / edits.len().max(1) as f32,
    };
    let all = edits.iter().zip(gains).zip(marks).enumerate();
    Ok(all
        .map(|(candidate, ((edit, repeats), rubric))| Measured {
            context,
            candidate,
            seed: edit.seed,
            repeats,
            rubric,
            seconds: each,
        })
        .collect())
}

/// Trains and asks these (candidate, repeat) pairs in one batch.
fn measure_pack(
    model: &dyn Model,
    domain: &KnowledgeOptions,
    written: &PreparedContext,
    pack: &[(usize, usize)],
    seeds: Seeds,
    journal: &dyn Journal,
) -> Result<Pack, Interrupted> {
    let stop = || journal.check().is_err();
    let PreparedContext {
        case,
        edits,
        before,
    } = written;
    let clock = Instant::now();
    let training = |(c, repeat): &(usize, usize)| {
        let tokens = |text: &str| model.tokens(text);
        domain.training(
            case,
            &edits[*c],
            Queries::Reward,
            seeds.repeat(*repeat),
            &tokens,
        )
    };
    let trainings: Vec<Training> = pack.iter().filter_map(training).collect();
    let trained = model.train(trainings, &mut |_, _, _| journal.check().is_ok())?;
    let training = clock.elapsed().as_secs_f32();
    let items = closed_book(&case.passage.title, &case.probes);
    let clock = Instant::now();
    let answers = fan_out::each(trained.len(), trained.len(), |i| {
        let asker = Interruptible::new(model, &stop);
        let adapter = Some(&trained[i].adapter);
        let greedy = Sampling::greedy(ANSWER_TOKENS);
        graded(asker, adapter, &items, domain.grader, &greedy)
    })?;
    let answering = clock.elapsed().as_secs_f32();
    let clock = Instant::now();
    let likelihoods = fan_out::each(trained.len(), trained.len(), |i| {
        let asker = Interruptible::new(model, &stop);
        asker.likelihood(&items, Some(&trained[i].adapter))
    })?;
    let scoring = clock.elapsed().as_secs_f32();
    let clock = Instant::now();
    let shares = fan_out::each(trained.len(), trained.len(), |i| {
        let asker = Interruptible::new(model, &stop);
        let drawn = seed(seeds.repeat(pack[i].1), Draw::Answers);
        let adapter = Some(&trained[i].adapter);
        expected(asker, adapter, &items, domain.grader, drawn)
    })?;
    let cost = Cost {
        training,
        answering,
        scoring,
        sampling: clock.elapsed().as_secs_f32(),
        marking: 0.0,
    };
    let n = items.len() as f32;
    let asked = answers.iter().zip(likelihoods).zip(shares);
    let gains = asked.map(|((answers, likelihoods), shares)| {
        let right = answers.iter().flatten().filter(|(_, right)| *right);
        let gain = Gain {
            accuracy: right.count() as f32 / n - accuracy(before),
            likelihood: likelihoods.iter().sum::<f32>() / n - mean_logprob(before),
            expected: shares.iter().sum::<f32>() / n - mean_expected(before),
            step: 1.0 / n,
        };
        MEASURED.map(|kind| gain.reward(kind))
    });
    Ok(Pack {
        gains: gains.collect(),
        cost,
    })
}

fn row(reward: Reward, measured: &[Measured]) -> RewardRow {
    let contexts: Vec<&[Measured]> = measured.chunk_by(|a, b| a.context == b.context).collect();
    // A rubric has no seed, so every repeat gives the same mark.
    let values = |m: &Measured| gains(m, reward).unwrap_or_else(|| vec![m.rubric; m.repeats.len()]);
    let rewards: Vec<Vec<Vec<f32>>> = contexts
        .iter()
        .map(|of| of.iter().map(values).collect())
        .collect();
    let mut pairs: Vec<Vec<(f32, f32)>> = Vec::new();
    let mut chosen: Vec<Vec<f32>> = Vec::new();
    for (of, rewards) in contexts.iter().zip(&rewards) {
        let accuracies = of.iter().map(|m| gains(m, Reward::Accuracy));
        let accuracies: Vec<Vec<f32>> = accuracies.map(Option::unwrap_or_default).collect();
        let both = rewards.iter().zip(&accuracies);
        pairs.push(both.map(|(r, a)| (mean(r), mean(a))).collect());
        chosen.push(worth_of_choosing(rewards, &accuracies));
    }
    let seconds = measured.iter().map(|m| {
        let c = m.seconds;
        match reward {
            Reward::Accuracy => c.training + c.answering,
            Reward::Likelihood => c.training + c.scoring,
            Reward::Combined => c.training + c.answering + c.scoring,
            Reward::Expected => c.training + c.sampling,
            Reward::Rubric => c.marking,
        }
    });
    RewardRow {
        reward,
        reliability: reliability(&rewards),
        with_accuracy: correlation(&pairs),
        chosen: estimate(&chosen),
        seconds: mean(&seconds.collect::<Vec<f32>>()),
    }
}

/// The reward of each repeat; `None` for a kind that needs no training.
fn gains(measured: &Measured, reward: Reward) -> Option<Vec<f32>> {
    let nth = MEASURED.iter().position(|kind| *kind == reward)?;
    Some(measured.repeats.iter().map(|r| r[nth]).collect())
}

/// The worth of choosing by a reward in one context, for each repeat. The repeat's reward chooses the best candidate;
/// its worth is its accuracy in the other repeats minus the mean accuracy of all candidates there. Both arguments are
/// `[candidate][repeat]`. Empty with fewer than two repeats.
fn worth_of_choosing(rewards: &[Vec<f32>], accuracies: &[Vec<f32>]) -> Vec<f32> {
    let repeats = rewards.iter().map(Vec::len).min().unwrap_or(0);
    if repeats < 2 {
        return Vec::new();
    }
    let one = |by: usize| {
        let others = |candidate: &Vec<f32>| {
            let others = (0..repeats).filter(|r| *r != by).map(|r| candidate[r]);
            others.sum::<f32>() / (repeats - 1) as f32
        };
        let others: Vec<f32> = accuracies.iter().map(others).collect();
        let best = rewards.iter().map(|r| r[by]).fold(f32::MIN, f32::max);
        // Candidates with equal rewards are chosen with equal chance, so their mean counts.
        let tied = rewards.iter().zip(&others).filter(|(r, _)| r[by] == best);
        let tied: Vec<f32> = tied.map(|(_, accuracy)| *accuracy).collect();
        mean(&tied) - mean(&others)
    };
    (0..repeats).map(one).collect()
}

fn mean(v: &[f32]) -> f32 {
    v.iter().sum::<f32>() / v.len().max(1) as f32
}

/// Pearson's correlation of the pairs, after each context's means are subtracted. `None` if a side does not vary.
fn correlation(contexts: &[Vec<(f32, f32)>]) -> Option<f32> {
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for of in contexts {
        let n = of.len().max(1) as f32;
        let mx = of.iter().map(|p| p.0).sum::<f32>() / n;
        let my = of.iter().map(|p| p.1).sum::<f32>() / n;
        for (x, y) in of {
            xx += (x - mx).powi(2);
            yy += (y - my).powi(2);
            xy += (x - mx) * (y - my);
        }
    }
    (xx > 0.0 && yy > 0.0).then(|| xy / (xx * yy).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(context: usize, repeats: &[[f32; 4]], rubric: f32) -> Measured {
        Measured {
            context,
            candidate: 0,
            seed: 0,
            repeats: repeats.to_vec(),
            rubric,
            seconds: Cost {
                training: 10.0,
                answering: 4.0,
                scoring: 2.0,
                sampling: 3.0,
                marking: 1.0,
            },
        }
    }

    #[test]
    fn each_reward_has_its_own_noise_and_cost() {
        let all = [
            measured(0, &[[0.0, 1.0, 0.1, 0.5], [0.4, 1.0, 0.5, 0.5]], 0.9),
            measured(0, &[[0.2, 2.0, 0.3, 0.1], [0.6, 2.0, 0.7, 0.1]], 0.1),
        ];
        let rows = Reward::ALL.map(|r| row(r, &all));
        let seconds = rows.clone().map(|r| r.seconds);
        assert_eq!(seconds, [14.0, 12.0, 16.0, 13.0, 1.0]);
        assert_eq!(rows[1].reliability.unwrap().single, 1.0);
        // The second repeat adds the same to both candidates, which is no noise.
        assert!((rows[0].reliability.unwrap().single - 1.0).abs() < 1e-5);
        assert_eq!(rows[1].with_accuracy, Some(1.0));
        let opposite = |row: &RewardRow| (row.with_accuracy.unwrap() + 1.0).abs() < 1e-6;
        assert!(rows[3..].iter().all(opposite));
        // The better candidate is 0.1 above the mean of both.
        let worth = rows.map(|r| (100.0 * r.chosen.mean).round());
        assert_eq!(worth, [10.0, 10.0, 10.0, -10.0, -10.0]);
    }

    #[test]
    fn a_choice_is_judged_by_measurements_that_it_did_not_see() {
        // The first repeat chooses the second candidate, the second repeat the first: both by luck.
        let rewards = [vec![0.0, 1.0], vec![1.0, 0.0]];
        assert_eq!(worth_of_choosing(&rewards, &rewards), [-0.5, -0.5]);
        // Equal candidates are worth their mean.
        let equal = [vec![1.0, 1.0], vec![1.0, 1.0]];
        assert_eq!(worth_of_choosing(&equal, &rewards), [0.0, 0.0]);
        assert!(worth_of_choosing(&[vec![1.0]], &[vec![1.0]]).is_empty());
    }

    #[test]
    fn correlation_forgets_the_contexts_means() {
        let contexts = [
            vec![(1.0, 10.0), (2.0, 11.0)],
            vec![(100.0, 3.0), (101.0, 4.0)],
        ];
        assert!((correlation(&contexts).unwrap() - 1.0).abs() < 1e-6);
        assert_eq!(correlation(&[vec![(1.0, 2.0)]]), None);
    }
}
