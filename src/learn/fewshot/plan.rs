//! What fits the time: how many configurations are compared, on how many held-out demonstrations, how much
//! each is trained on, in how many views the answer is asked.
//!
//! The figures come from one training step on this machine, under the load it has; so they are estimates,
//! and half of the seconds a client gives are not planned at all on a machine that is about to be busier.

use super::self_edit::SelfEdit;
use serde::{Deserialize, Serialize};

/// Seconds that a byte of a training sequence takes, all told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace(pub f32);

/// Reading takes this part of training's time (forward without backward).
const READING: f32 = 0.4;
/// Seconds of a decoding step beyond its rows: the weights are read once.
const STEP: f32 = 0.03;
/// Fewer sequences than this teach nothing: rather compare fewer configurations.
const FEWEST: usize = 32;
/// Part of the time that predictions may take.
const PREDICTING: f32 = 0.3;
/// Part of the time that is planned.
const PLANNED: f32 = 0.9;

/// What is known of the work before it is cut to the time.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    pub edits: &'a [SelfEdit],
    /// Training sequences of each edit, and their mean length in bytes.
    pub sequences: Vec<(usize, f32)>,
    /// Demonstrations that may be held out; none of one alone.
    pub folds: usize,
    /// All views of all test inputs: how many, and the bytes of a prompt and of an answer.
    pub views: usize,
    pub tests: usize,
    pub prompt: f32,
    pub answer: f32,
    /// What is left of the budget.
    pub seconds: f32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Demonstrations held out in turn; 0: one configuration, nothing to compare.
    pub folds: usize,
    pub candidates: Vec<Share>,
    /// Views of each test input.
    pub views: usize,
    /// What the final training and the predictions should take.
    pub seconds: f32,
}

/// What one training of a configuration gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub sequences: usize,
    pub epochs: usize,
}

impl Share {
    /// As many sequences and epochs as `steps` allow, epochs going first.
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
        // Fewer configurations until each gets enough, then as many folds as there is time for.
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
    /// What the adapter itself gets when `left` of the budget's seconds are left: comparing may have taken
    /// less than was planned. Never less than planned.
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
        // A step takes a second; two configurations would get 36 each, three 27.
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
