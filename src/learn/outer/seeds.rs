//! Seeds of random draws. Every draw has a seed of its own, computed from the run's seed and the place of the draw. Any
//! figure can therefore be recomputed by itself, and none depends on the order of the work.

/// The place of a random draw.
#[derive(Debug, Clone, Copy)]
pub enum Draw {
    /// The order of the contexts.
    Order,
    /// The self-edits of a context in a round; the nth candidate's seed is this plus n.
    Edits { round: usize, context: usize },
    /// A repeat's training. All candidates of a context train from the same seeds, so that they differ only in their
    /// self-edits.
    Repeat {
        round: usize,
        context: usize,
        repeat: usize,
    },
    /// The policy's fine-tuning after a round.
    Policy { round: usize },
    /// The model's own questions about a context.
    Questions { context: usize },
    /// A held-out context's self-edit and training; the seed is the same before and after every round.
    HeldOut { context: usize },
    /// The base's sampled answers to a context's queries.
    Before { context: usize },
    /// A trial's sampled answers, drawn from the trial's seed in place of the run's.
    Answers,
}

/// The seed of a draw. It is below 2^53, so that programs whose numbers are floating point read the same seed.
pub fn seed(run: u64, draw: Draw) -> u64 {
    let place = match draw {
        Draw::Order => [1, 0, 0, 0],
        Draw::Edits { round, context } => [2, round, context, 0],
        Draw::Repeat {
            round,
            context,
            repeat,
        } => [3, round, context, repeat],
        Draw::Policy { round } => [4, round, 0, 0],
        Draw::Questions { context } => [5, context, 0, 0],
        Draw::HeldOut { context } => [6, context, 0, 0],
        Draw::Before { context } => [7, context, 0, 0],
        Draw::Answers => [8, 0, 0, 0],
    };
    let mixed = place.iter().fold(mix(run), |s, p| mix(s ^ *p as u64));
    mixed >> 11
}

/// SplitMix64's finaliser (Steele et al. 2014).
fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_draw_has_a_seed_of_its_own() {
        let mut seen = HashSet::new();
        for run in 0..3 {
            for a in 0..8 {
                for b in 0..8 {
                    let draw = Draw::Edits {
                        round: a,
                        context: b,
                    };
                    assert!(seen.insert(seed(run, draw)));
                    let (round, context) = (a, b);
                    let draw = Draw::Repeat {
                        round,
                        context,
                        repeat: 0,
                    };
                    let trial = seed(run, draw);
                    assert!(seen.insert(trial));
                    assert!(seen.insert(seed(trial, Draw::Answers)));
                }
                assert!(seen.insert(seed(run, Draw::Policy { round: a })));
                assert!(seen.insert(seed(run, Draw::HeldOut { context: a })));
                assert!(seen.insert(seed(run, Draw::Before { context: a })));
            }
        }
        assert!(seen.iter().all(|s| *s < 1 << 53));
    }

    #[test]
    fn the_finaliser_is_splitmix() {
        // The first output of SplitMix64 from state 0, as published.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }
}
