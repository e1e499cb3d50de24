//! The number of contexts that a round practises on, if the run has a time limit.

use super::options::{Baseline, OuterOptions, Reward};
use super::report::Report;
use super::{Run, WRITING, trials_of_context};
use crate::learn::outer::domain::Domain;
use crate::learn::ports::journal::{Interrupted, step};

/// The time to write a held-out context's self-edit, as a share of its trial. Sixteen self-edits are written at once.
const WRITING_ONE: f32 = 0.1;

/// Measurements of a context: one per candidate, and one more if the baseline is learned too.
fn compared(o: &OuterOptions) -> f32 {
    (o.candidates + usize::from(o.baseline == Baseline::ContextAlone)) as f32
}

/// Estimated seconds of a candidate before the first candidate is measured, from the seconds of a held-out trial. Eight
/// sampled answers in addition to the greedy one raised a trial from 39 s to 49–55 s on one machine, and from 6 s to
/// 11 s on another. A mark needs no training.
fn guess(o: &OuterOptions, held_out: f32) -> f32 {
    let trials = trials_of_context(o) / compared(o);
    match o.reward {
        Reward::Rubric => 0.15 * held_out,
        Reward::Expected => 1.6 * held_out * trials,
        _ => held_out * trials,
    }
}

/// Contexts of round `nth`, from the pace of everything measured before it. The remaining time is shared equally among
/// this round and the later ones; every round gets at least one context. If nothing was measured yet, the round gets
/// all contexts that the options ask for. Several workers count as faster than one only after a measured round, since
/// their engines may share a processor.
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
    // The base's answers, the writing and the policy's fine-tuning together take about a trial.
    let context = (compared(o) * candidate) / workers as f32 + 2.0 * WRITING * trial;
    let scoring = o.held_out as f32 * (1.0 + WRITING_ONE) * trial;
    let done = practised(report);
    let ahead = (o.rounds + 1 - nth) as f32;
    let spent = nth as f32 * scoring + done as f32 * context;
    let left = o.minutes as f32 * 60.0 - spent - ahead * scoring;
    ((left / ahead / context) as usize).clamp(1, most)
}

/// The number of contexts in all rounds so far.
fn practised(report: &Report) -> usize {
    report.rounds.iter().map(|r| r.contexts.len()).sum()
}

fn mean(values: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), v| (sum + v, count + 1));
    (count > 0).then(|| sum / count as f32)
}

impl<D: Domain> Run<'_, D> {
    /// Contexts of round `nth`. A time-limited size is stored, so a resumed run uses the same one. Also updates the
    /// meter's estimate of the remaining work.
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

    /// Two rounds of ten contexts with four candidates each; eight contexts are held out.
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

    /// A report after the first round, which had this many contexts and took `seconds` for each candidate.
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
        // A scoring takes 8.8 trials, so three take 264 s. A context takes 7.4 trials, 74 s: an hour has room for 22 in
        // each round.
        assert_eq!(fitting(&options(60), 1, &report(10.0), 1), 10);
        // At 40 s a trial the scorings take 1,056 s and a context takes 296 s; 2,544 s remain for both rounds.
        assert_eq!(fitting(&options(60), 1, &report(40.0), 1), 4);
        // A second engine does not count before a measured round.
        assert_eq!(fitting(&options(60), 2, &report(40.0), 1), 4);
        // A round has at least one context.
        assert_eq!(fitting(&options(1), 1, &report(40.0), 1), 1);
        // Without any measurement the round gets all its contexts.
        let mut unknown = report(40.0);
        unknown.before = None;
        assert_eq!(fitting(&options(1), 1, &unknown, 1), 10);
    }

    #[test]
    fn a_later_round_goes_by_what_the_earlier_ones_took() {
        // The scorings take 1,056 s of the hour. Three contexts at 80 s a candidate took 1,080 s: four more fit.
        assert_eq!(fitting(&options(60), 1, &after_one(40.0, 3, 80.0), 2), 4);
        // With the contexts learned alone as well, they took 1,320 s, and another context takes 440 s.
        let mut alone = options(60);
        alone.baseline = Baseline::ContextAlone;
        assert_eq!(fitting(&alone, 1, &after_one(40.0, 3, 80.0), 2), 2);
        // At 20 s a candidate they took 360 s: eighteen more would fit.
        assert_eq!(fitting(&options(60), 1, &after_one(40.0, 3, 20.0), 2), 10);
        // At 160 s a candidate they took 2,040 s: hardly one more fits.
        assert_eq!(fitting(&options(60), 1, &after_one(40.0, 3, 160.0), 2), 1);
        // Two engines in parallel at 80 s a candidate take 200 s a context; 600 s are spent.
        assert_eq!(fitting(&options(60), 2, &after_one(40.0, 3, 80.0), 2), 9);
    }
}
