//! How many contexts a round practises on, where the run is to be done in a given time.

use super::options::{OuterOptions, Reward};
use super::report::{HeldOut, Report};
use super::{Run, WRITING, trials_of_context};
use crate::learn::domain::Domain;
use crate::learn::journal::{Stop, step};

/// What a trial of a candidate takes, in trials of a held-out context, until the first is measured: eight sampled
/// answers a question cost half as much again, a mark needs no training.
fn guess(o: &OuterOptions, held_out: f32) -> f32 {
    let trials = trials_of_context(o) / o.candidates as f32;
    match o.reward {
        Reward::Rubric => 0.15 * held_out,
        Reward::Expected => 1.5 * held_out * trials,
        _ => held_out * trials,
    }
}

/// Contexts of round `nth`, by the pace of everything measured before it: as many as leave time for as many in each
/// round that follows, at least one. All, where nothing was measured yet.
fn fitting(o: &OuterOptions, workers: usize, report: &Report, nth: usize) -> usize {
    let most = o.contexts_per_round;
    let scorings = || report.rounds.iter().map(|r| r.held_out.as_ref());
    let scorings: Vec<&HeldOut> = std::iter::once(report.before.as_ref())
        .chain(scorings())
        .flatten()
        .collect();
    let scored = scorings.iter().flat_map(|h| &h.scores).map(|s| s.seconds);
    let candidates = report.rounds.iter().flat_map(|r| &r.candidates);
    let (scored, measured) = (mean(scored), mean(candidates.map(|c| c.seconds)));
    let Some(candidate) = measured.or(scored.map(|s| guess(o, s))) else {
        return most;
    };
    // What is written and fine-tuned on has no trials of its own to go by.
    let trial = scored.unwrap_or(candidate);
    let context = (o.candidates as f32 * candidate) / workers as f32 + 2.0 * WRITING * trial;
    let scoring = o.held_out as f32 * (1.0 + WRITING) * trial;
    let done: usize = report.rounds.iter().map(|r| r.contexts.len()).sum();
    let ahead = (o.rounds + 1 - nth) as f32;
    let spent = nth as f32 * scoring + done as f32 * context;
    let left = o.minutes as f32 * 60.0 - spent - ahead * scoring;
    ((left / ahead / context) as usize).clamp(1, most)
}

fn mean(values: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / count as f32)
}

impl<D: Domain> Run<'_, D> {
    /// Decided once, also over a crash; tells the meter what is left to do.
    pub(super) fn size(&self, nth: usize, report: &Report) -> Result<usize, Stop> {
        let (o, workers) = (self.start.options, 1 + self.start.others.len());
        let size = match o.minutes {
            0 => o.contexts_per_round,
            _ => step(self.start.journal, &format!("round:{nth}:size"), || {
                Ok(fitting(o, workers, report, nth))
            })?,
        };
        let done: usize = report.rounds.iter().map(|r| r.contexts.len()).sum();
        let there = size.min(self.start.contexts.len());
        self.expect(done + there * (o.rounds + 1 - nth));
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Preset;
    use super::super::report::{HeldOutScore, Round};
    use super::super::tests::candidate;
    use super::*;
    use crate::learn::stats::estimate;

    /// Two rounds of ten contexts and four candidates, eight held out.
    fn options(minutes: u32) -> OuterOptions {
        OuterOptions {
            minutes,
            ..OuterOptions::preset(Preset::Default)
        }
    }

    fn held_out(seconds: f32) -> Option<HeldOut> {
        let score = |context| HeldOutScore {
            context,
            title: String::new(),
            seed: 0,
            before: 0,
            after: 0,
            queries: 5,
            likelihood_gain: 0.0,
            seconds,
        };
        Some(HeldOut {
            gain: estimate(&[vec![0.0]]),
            accuracy_before: 0.0,
            accuracy_after: 0.0,
            likelihood_gain: 0.0,
            contexts: 8,
            seconds: 0.0,
            scores: (0..8).map(score).collect(),
        })
    }

    fn report(seconds: f32) -> Report {
        Report {
            held_out_contexts: (0..8).collect(),
            unusable_contexts: Vec::new(),
            before: held_out(seconds),
            rounds: Vec::new(),
        }
    }

    /// With the first round done: this many contexts, of which each candidate took so long.
    fn after_one(scored: f32, contexts: usize, seconds: f32) -> Report {
        let candidates = (0..contexts).flat_map(|context| {
            (0..4).map(move |nth| {
                let mut candidate = candidate(context, nth, 0.1);
                candidate.seconds = seconds;
                candidate
            })
        });
        let round = Round {
            round: 1,
            reward_kind: Reward::Expected,
            contexts: (0..contexts).collect(),
            reward: 0.1,
            best_reward: 0.1,
            reliability: None,
            candidates: candidates.collect(),
            kept: Vec::new(),
            policy: None,
            held_out: held_out(scored),
            seconds: 0.0,
        };
        Report {
            rounds: vec![round],
            ..report(scored)
        }
    }

    #[test]
    fn a_fast_machine_practises_on_all_and_a_slow_one_on_what_the_time_allows() {
        // Three scorings are 360 trials' seconds in ten: 6 min. A context is 7 trials' time, 70 s: 20 are 23 min.
        assert_eq!(fitting(&options(60), 1, &report(10.0), 1), 10);
        // 40 s a trial: the scorings 24 min, a context 280 s; of 36 min each round has 18, 3 contexts.
        assert_eq!(fitting(&options(60), 1, &report(40.0), 1), 3);
        // Two engines measure candidates at twice the pace, writing stays: 160 s a context.
        assert_eq!(fitting(&options(60), 2, &report(40.0), 1), 6);
        // Never none.
        assert_eq!(fitting(&options(1), 1, &report(40.0), 1), 1);
        // Nothing measured, nothing known.
        let mut unknown = report(40.0);
        unknown.before = None;
        assert_eq!(fitting(&options(1), 1, &unknown, 1), 10);
    }

    #[test]
    fn a_later_round_goes_by_what_the_earlier_ones_took() {
        // As above; now candidates turn out to take 20 s where 60 were guessed: a context 120 s, the first round had 360
        // of them, two scorings and the last are 24 min. 30 min are left: ten, not fifteen.
        assert_eq!(fitting(&options(60), 1, &after_one(40.0, 3, 20.0), 2), 10);
        // Or 160 s: a context 680 s, 34 min are gone with the first round, 2 min are left.
        assert_eq!(fitting(&options(60), 1, &after_one(40.0, 3, 160.0), 2), 1);
        // Or 80 s: a context 360 s, 18 min gone, 18 left: 3.
        assert_eq!(fitting(&options(60), 1, &after_one(40.0, 3, 80.0), 2), 3);
    }
}
