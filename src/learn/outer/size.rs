//! How many contexts a round practises on, where the run is to be done in a given time.

use super::options::{Baseline, OuterOptions, Reward};
use super::report::Report;
use super::{Run, WRITING, trials_of_context};
use crate::learn::outer::domain::Domain;
use crate::learn::ports::journal::{Interrupted, step};

/// What writing a held-out context's self-edit adds to its trial: they are written sixteen at once.
const WRITING_ONE: f32 = 0.1;

/// Candidates of a context, and what they are measured against.
fn compared(o: &OuterOptions) -> f32 {
    (o.candidates + usize::from(o.baseline == Baseline::ContextAlone)) as f32
}

/// What a candidate takes, by a trial of a held-out context, until the first is measured: eight sampled answers beside the
/// greedy one made it 49 to 55 s of 39 on one machine, 11 of 6 on another; a mark needs no training.
fn guess(o: &OuterOptions, held_out: f32) -> f32 {
    let trials = trials_of_context(o) / compared(o);
    match o.reward {
        Reward::Rubric => 0.15 * held_out,
        Reward::Expected => 1.6 * held_out * trials,
        _ => held_out * trials,
    }
}

/// Contexts of round `nth`, by the pace of everything measured before it: as many as leave time for as many in each
/// round that follows, at least one. All, where nothing was measured yet. That several engines share the work is
/// believed when it was measured: they may share a processor too.
fn fitting(o: &OuterOptions, workers: usize, report: &Report, nth: usize) -> usize {
    let most = o.contexts_per_round;
    let later = report.rounds.iter().filter_map(|r| r.held_out.as_ref());
    let scorings = report.before.iter().chain(later);
    let scored = scorings.flat_map(|h| &h.scores).map(|s| s.seconds);
    let candidates = report.rounds.iter().flat_map(|r| &r.candidates);
    let (scored, measured) = (mean(scored), mean(candidates.map(|c| c.seconds)));
    let workers = if measured.is_some() { workers } else { 1 };
    let Some(candidate) = measured.or(scored.map(|s| guess(o, s))) else {
        return most;
    };
    let trial = scored.unwrap_or(candidate);
    // What the base answers, what is written, what is fine-tuned on: about a trial together.
    let context = (compared(o) * candidate) / workers as f32 + 2.0 * WRITING * trial;
    let scoring = o.held_out as f32 * (1.0 + WRITING_ONE) * trial;
    let done = practised(report);
    let ahead = (o.rounds + 1 - nth) as f32;
    let spent = nth as f32 * scoring + done as f32 * context;
    let left = o.minutes as f32 * 60.0 - spent - ahead * scoring;
    ((left / ahead / context) as usize).clamp(1, most)
}

/// Contexts of all rounds so far.
fn practised(report: &Report) -> usize {
    report.rounds.iter().map(|r| r.contexts.len()).sum()
}

fn mean(values: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / count as f32)
}

impl<D: Domain> Run<'_, D> {
    /// Decided once, also over a crash; tells the meter what is left to do.
    pub(super) fn size(&self, nth: usize, report: &Report) -> Result<usize, Interrupted> {
        let (o, workers) = (self.input.options, 1 + self.input.others.len());
        let size = match o.minutes {
            0 => o.contexts_per_round,
            _ => step(self.input.journal, &format!("round:{nth}:size"), || {
                Ok(fitting(o, workers, report, nth))
            })?,
        };
        let there = size.min(self.input.contexts.len());
        self.expect(practised(report) + there * (o.rounds + 1 - nth));
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::outer::options::Preset;
    use crate::learn::outer::report::{HeldOut, HeldOutScore, Round};
    use crate::learn::outer::tests::candidate;
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
            baseline: Baseline::Base,
            contexts: (0..contexts).collect(),
            reward: 0.1,
            best_reward: 0.1,
            reliability: None,
            candidates: candidates.collect(),
            kept: Vec::new(),
            policy: None,
            held_out: held_out(scored),
        };
        Report {
            rounds: vec![round],
            ..report(scored)
        }
    }

    #[test]
    fn a_fast_machine_practises_on_all_and_a_slow_one_on_what_the_time_allows() {
        // A scoring is 8.8 trials, three are 264 s; a context is 7.4 trials, 74 s: twenty-two have room in an hour.
        assert_eq!(fitting(&options(60), 1, &report(10.0), 1), 10);
        // 40 s a trial: the scorings take 1,056 s, a context 296; 2,544 are left for both rounds.
        assert_eq!(fitting(&options(60), 1, &report(40.0), 1), 4);
        // Whether a second engine is a second processor is not known yet.
        assert_eq!(fitting(&options(60), 2, &report(40.0), 1), 4);
        // Never none.
        assert_eq!(fitting(&options(1), 1, &report(40.0), 1), 1);
        // Nothing measured, nothing known.
        let mut unknown = report(40.0);
        unknown.before = None;
        assert_eq!(fitting(&options(1), 1, &unknown, 1), 10);
    }

    #[test]
    fn a_later_round_goes_by_what_the_earlier_ones_took() {
        // Of the hour 1,056 s are for scorings. Three contexts at 80 s a candidate took 1,080: four more have room.
        assert_eq!(fitting(&options(60), 1, &after_one(40.0, 3, 80.0), 2), 4);
        // With their contexts learned alone too they took 1,320, and another takes 440.
        let mut alone = options(60);
        alone.baseline = Baseline::ContextAlone;
        assert_eq!(fitting(&alone, 1, &after_one(40.0, 3, 80.0), 2), 2);
        // At 20 s they took 360: the rest would hold eighteen.
        assert_eq!(fitting(&options(60), 1, &after_one(40.0, 3, 20.0), 2), 10);
        // At 160 s 2,040: hardly one more.
        assert_eq!(fitting(&options(60), 1, &after_one(40.0, 3, 160.0), 2), 1);
        // Two engines took 80 s a candidate side by side: 200 s a context, 600 gone.
        assert_eq!(fitting(&options(60), 2, &after_one(40.0, 3, 80.0), 2), 9);
    }
}
