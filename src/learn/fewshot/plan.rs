//! The plan of an adaptation cuts the work to the time budget: how many configurations are compared, on how many
//! held-out demonstrations, how much each is trained on, and in how many views a test input is asked.
//!
//! All figures are estimates. They extrapolate from a few training steps on this machine under its current load. On a
//! machine that becomes busier the budget cuts stages short (`budget.rs`).

use super::self_edit::SelfEdit;
use serde::{Deserialize, Serialize};

/// Seconds of training per byte of a training sequence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace(pub f32);

/// The time to read a byte of a prompt, as a share of the time to train on it: forward without backward.
const READING: f32 = 0.4;
/// The fixed seconds of a decoding step, whatever the number of rows: the weights are read once.
const STEP: f32 = 0.03;
/// The fewest training steps that a candidate should get. With fewer it learns nothing, so the plan rather compares
/// fewer configurations.
const FEWEST: usize = 32;
/// The largest share of the time for predictions.
const PREDICTING: f32 = 0.3;
/// The share of the time that is planned; the rest is reserve.
const PLANNED: f32 = 0.9;

/// The whole work, before it is cut to the time.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    pub edits: &'a [SelfEdit],
    /// For each edit: the number of training sequences and their mean length in bytes.
    pub sequences: Vec<(usize, f32)>,
    /// Demonstrations that may be held out; 0 if the task has only one.
    pub folds: usize,
    /// The most views of a test input.
    pub views: usize,
    /// Test inputs.
    pub tests: usize,
    /// Mean length of a prompt, in bytes.
    pub prompt: f32,
    /// Length of the longest answer among the demonstrations, in bytes.
    pub answer: f32,
    /// Seconds that remain of the budget.
    pub seconds: f32,
}

/// The work that fits the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Demonstrations held out one after another. 0: there is one configuration and no comparison.
    pub folds: usize,
    /// The configurations to compare, in the order of the edits.
    pub candidates: Vec<Share>,
    /// Views of each test input.
    pub views: usize,
    /// Planned seconds of the final training and the predictions.
    pub seconds: f32,
    /// Those of `seconds` that are for the predictions.
    #[serde(default)]
    pub asking: f32,
}

/// The size of one training of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub sequences: usize,
    pub epochs: usize,
}

impl Share {
    /// As many sequences and epochs as `steps` allow. Epochs are cut before sequences.
    fn of(wanted: usize, epochs: usize, steps: f32) -> Self {
        let steps = (steps as usize).max(1);
        let epochs = epochs.min((steps / wanted.max(1)).max(1));
        Share {
            sequences: wanted.min((steps / epochs).max(1)),
            epochs,
        }
    }

    fn steps(self) -> usize {
        self.sequences * self.epochs
    }
}

impl Wish<'_> {
    /// The plan at this pace. Every training gets at least one sequence and one epoch, every test input one view.
    pub fn plan(&self, pace: Pace) -> Plan {
        let asking = |views: usize| {
            let rows = (views * self.tests) as f32;
            let read = rows * self.prompt * pace.0 * READING;
            read + self.answer * (STEP + rows * pace.0 * READING)
        };
        let time = self.seconds * PLANNED;
        let mut views = self.views.max(1);
        while views > 1 && asking(views) > time * PREDICTING {
            views -= 1;
        }
        let training = (time - asking(views)).max(0.0);
        // Configurations are dropped until each gets enough steps; then folds are added while there is time.
        let mut candidates = match self.folds {
            0 => 1,
            _ => self.edits.len().max(1),
        };
        let share = |nth: usize, trainings: usize| {
            let seconds = training / trainings as f32;
            self.share(
                nth,
                seconds / (self.sequences[nth].1 * pace.0).max(f32::EPSILON),
            )
        };
        let enough = |shared: Share, nth: usize| {
            let wanted = self.sequences[nth].0 * self.edits[nth].training.num_train_epochs;
            shared.steps() >= FEWEST.min(wanted)
        };
        while candidates > 1 && !(0..candidates).all(|n| enough(share(n, candidates + 1), n)) {
            candidates -= 1;
        }
        let mut folds = if candidates > 1 { 1 } else { 0 };
        let whole = |folds: usize| {
            let trainings = candidates * folds + 1;
            (0..candidates).all(|n| share(n, trainings) == share(n, 1))
        };
        while folds > 0 && folds < self.folds && whole(folds + 1) {
            folds += 1;
        }
        let shares: Vec<Share> = (0..candidates)
            .map(|n| share(n, candidates * folds + 1))
            .collect();
        let last = (0..candidates).map(|n| {
            let bytes = shares[n].steps() as f32 * self.sequences[n].1;
            bytes * pace.0
        });
        Plan {
            folds,
            seconds: last.fold(0.0, f32::max) + asking(views),
            asking: asking(views),
            candidates: shares,
            views,
        }
    }

    fn share(&self, nth: usize, steps: f32) -> Share {
        let epochs = self.edits[nth].training.num_train_epochs;
        Share::of(self.sequences[nth].0, epochs, steps)
    }
}

impl Plan {
    /// The size of the final training when `left` seconds of the budget remain. It is never below the planned size, and
    /// larger if the comparison took less time than planned.
    pub fn last(&self, chosen: usize, wanted: usize, epochs: usize, left: f32) -> Share {
        let planned = self.candidates[chosen];
        let more = left * PLANNED / self.seconds.max(f32::EPSILON);
        let steps = planned.steps() as f32 * more.max(1.0);
        Share::of(wanted.max(planned.sequences), epochs, steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(edits: &[SelfEdit], seconds: f32) -> Wish<'_> {
        Wish {
            edits,
            sequences: vec![(100, 100.0); edits.len()],
            folds: 3,
            views: 14,
            tests: 1,
            prompt: 100.0,
            answer: 12.0,
            seconds,
        }
    }

    fn edits(n: usize) -> Vec<SelfEdit> {
        vec![SelfEdit::default(); n]
    }

    #[test]
    fn with_time_everything_is_done_and_without_it_the_least() {
        let three = edits(3);
        let pace = Pace(0.01);
        let plan = wish(&three, 1e6).plan(pace);
        let all = Share {
            sequences: 100,
            epochs: 2,
        };
        assert_eq!((plan.folds, plan.views), (3, 14));
        assert_eq!(plan.candidates, [all; 3]);
        let plan = wish(&three, 1.0).plan(pace);
        let least = Share {
            sequences: 1,
            epochs: 1,
        };
        assert_eq!((plan.folds, plan.views), (0, 1));
        assert_eq!(plan.candidates, [least]);
    }

    #[test]
    fn configurations_are_dropped_before_each_learns_too_little() {
        // A step takes a second: two configurations would get 36 steps each, three would get 27.
        let three = edits(3);
        let plan = wish(&three, 130.0).plan(Pace(0.01));
        assert_eq!((plan.candidates.len(), plan.folds), (2, 1));
        assert!(
            plan.candidates
                .iter()
                .all(|s| s.epochs == 1 && s.steps() >= FEWEST)
        );
        assert!(plan.seconds <= 130.0);
    }

    #[test]
    fn time_that_comparing_left_goes_to_the_adapter() {
        let three = edits(3);
        let plan = wish(&three, 130.0).plan(Pace(0.01));
        let planned = plan.candidates[0];
        assert_eq!(plan.last(0, 100, 2, 0.0), planned);
        let whole = Share {
            sequences: 100,
            epochs: 2,
        };
        assert_eq!(plan.last(0, 100, 2, 1e6), whole);
        let more = plan.last(0, 100, 2, 3.0 * plan.seconds).steps();
        assert!(more > planned.steps() && more <= 3 * planned.steps());
    }

    #[test]
    fn one_demonstration_leaves_nothing_to_compare_on() {
        let three = edits(3);
        let plan = Wish {
            folds: 0,
            ..wish(&three, 1e6)
        }
        .plan(Pace(0.01));
        assert_eq!((plan.candidates.len(), plan.folds), (1, 0));
    }

    #[test]
    fn a_machine_of_no_measured_speed_still_has_a_plan() {
        for pace in [0.0, f32::MAX, f32::NAN] {
            let three = edits(3);
            let plan = wish(&three, 60.0).plan(Pace(pace));
            assert!(
                plan.candidates
                    .iter()
                    .all(|s| s.sequences >= 1 && s.epochs >= 1)
            );
        }
    }
}
