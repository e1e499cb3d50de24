//! The reward of a self-edit, computed from answers, and the reliability of rewards.

use super::options::Reward;
use super::report::Trial;
use crate::learn::knowledge::closed_book::{Answer, accuracy, mean_expected, mean_logprob};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::model::{ModelError, Prompt};

/// The gain of learning from a self-edit: after minus before, mean over its trials.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gain {
    /// Gain in the share of right answers.
    pub accuracy: f32,
    /// Gain in the mean log-likelihood of the gold answers, nats a token.
    pub likelihood: f32,
    /// Gain in expected accuracy, over sampled answers.
    pub expected: f32,
    /// The smallest step that `accuracy` can make.
    pub step: f32,
}

impl Gain {
    /// `before`: the answers before learning, one list per trial, or one list for all trials. Equal answers give a gain
    /// of exactly 0.
    pub fn of(before: &[Vec<Answer>], trials: &[Trial]) -> Self {
        let n = trials.len().max(1) as f32;
        let mean = |of: fn(&[Answer]) -> f32| {
            let pairs = trials.iter().zip(before.iter().cycle());
            pairs
                .map(|(t, before)| of(&t.answers) - of(before))
                .sum::<f32>()
                / n
        };
        let answers: usize = trials.iter().map(|t| t.answers.len()).sum();
        let step = 1.0 / answers.max(1) as f32;
        Gain {
            accuracy: mean(accuracy),
            likelihood: mean(mean_logprob),
            expected: mean(mean_expected),
            step,
        }
    }

    /// The reward of this kind. The combined reward is the gain in accuracy plus less than half of its smallest step by
    /// likelihood, so likelihood decides only between candidates of equal accuracy. The rubric has no gain: 0.
    pub fn reward(&self, kind: Reward) -> f32 {
        match kind {
            Reward::Accuracy => self.accuracy,
            Reward::Likelihood => self.likelihood,
            Reward::Combined => self.accuracy + 0.49 * self.step * self.likelihood.tanh(),
            Reward::Expected => self.expected,
            Reward::Rubric => 0.0,
        }
    }
}

/// The base's expected mark for a self-edit, 0 to 1, weighted by the likelihoods of the digits 1 to 5. The expectation
/// is finer than the single digit that the model would generate, and deterministic.
pub fn rubric(model: Interruptible<'_>, prompt: &Prompt) -> Result<f32, ModelError> {
    let items: Vec<(Prompt, String)> = (1..=5).map(|m| (prompt.clone(), m.to_string())).collect();
    let logprobs = model.likelihood(&items, None)?;
    let most = logprobs.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f32> = logprobs.iter().map(|l| (l - most).exp()).collect();
    let sum: f32 = weights.iter().sum();
    let marks = weights.iter().zip(0..).map(|(w, m)| w * m as f32 / 4.0);
    Ok(marks.sum::<f32>() / sum)
}

/// The share of the rewards' variance that lies between candidates, from a two-way analysis of variance within
/// contexts, pooled over the contexts (Shrout and Fleiss 1979, case 3). The analysis is two-way because each repeat
/// trains all candidates of a context from one seed: an effect of the seed on all candidates alike does not change
/// their order.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Reliability {
    /// ICC(3,1): the reliability of a single measurement.
    pub single: f32,
    /// ICC(3,k): the reliability of the mean over the repeats.
    pub mean: f32,
    pub contexts: usize,
    pub candidates: usize,
    pub repeats: usize,
}

/// The reliability of `rewards[context][candidate][repeat]`. `None` unless some context has two candidates, every
/// candidate has two repeats, and the candidates' means differ.
pub fn reliability(rewards: &[Vec<Vec<f32>>]) -> Option<Reliability> {
    let repeats = rewards.iter().flatten().map(Vec::len).min()?;
    let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
    let (mut between, mut rest) = ((0.0, 0), (0.0, 0));
    for context in rewards {
        let means: Vec<f32> = context.iter().map(|c| mean(&c[..repeats])).collect();
        let middle = mean(&means);
        let of_repeat = |r: usize| context.iter().map(|c| c[r]).sum::<f32>() / context.len() as f32;
        for (candidate, own) in context.iter().zip(&means) {
            between.0 += repeats as f32 * (own - middle).powi(2);
            rest.0 += (0..repeats)
                .map(|r| (candidate[r] - own - of_repeat(r) + middle).powi(2))
                .sum::<f32>();
        }
        let free = context.len().saturating_sub(1);
        between.1 += free;
        rest.1 += free * repeats.saturating_sub(1);
    }
    if between.1 == 0 || rest.1 == 0 {
        return None;
    }
    let (msb, mse) = (between.0 / between.1 as f32, rest.0 / rest.1 as f32);
    let total = msb + (repeats - 1) as f32 * mse;
    (total > 0.0 && msb > 0.0).then(|| Reliability {
        single: (msb - mse) / total,
        mean: (msb - mse) / msb,
        contexts: rewards.len(),
        candidates: rewards.iter().map(Vec::len).sum(),
        repeats,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(right: usize, of: usize, logprob: f32) -> Vec<Answer> {
        let answer = |i| Answer {
            answer: String::new(),
            correct: i < right,
            logprob,
            expected: Some(0.5),
        };
        (0..of).map(answer).collect()
    }

    fn gain(right: usize, logprob: f32) -> Gain {
        let trial = Trial {
            seed: 0,
            epochs: 1,
            answers: answers(right, 5, logprob),
            tokens: 0,
            seconds: 0.0,
            loss: None,
        };
        Gain::of(&[answers(1, 5, -3.0)], &[trial])
    }

    #[test]
    fn likelihood_decides_among_equals_and_never_against_accuracy() {
        let combined = |right, logprob| gain(right, logprob).reward(Reward::Combined);
        assert!(combined(2, -1.0) > combined(2, -2.0));
        assert!(combined(3, -9.0) > combined(2, -0.1));
        assert!(combined(1, -1.0) > 0.0);
        assert!(combined(1, -4.0) < 0.0);
        assert!(combined(0, -0.1) < 0.0);
        assert!((gain(3, 0.0).reward(Reward::Accuracy) - 0.4).abs() < 1e-6);
        assert_eq!(gain(3, -1.0).reward(Reward::Likelihood), 2.0);
    }

    #[test]
    fn repeats_that_equal_their_own_baseline_gain_exactly_nothing() {
        let trial = |right, logprob| Trial {
            seed: 0,
            epochs: 1,
            answers: answers(right, 10, logprob),
            tokens: 0,
            seconds: 0.0,
            loss: None,
        };
        let trials = [trial(3, -0.1), trial(6, -0.7)];
        let before = trials.clone().map(|t| t.answers);
        for kind in [Reward::Accuracy, Reward::Likelihood, Reward::Combined] {
            assert_eq!(Gain::of(&before, &trials).reward(kind), 0.0);
        }
    }

    #[test]
    fn reliability_by_hand() {
        // The candidates' means are 1 and 4, and their errors of ±1 are opposite: MSB = 9, MSE = 4.
        let rewards = vec![vec![vec![0.0, 2.0], vec![5.0, 3.0]]];
        let r = reliability(&rewards).unwrap();
        assert!((r.single - 5.0 / 13.0).abs() < 1e-6, "{r:?}");
        assert!((r.mean - 5.0 / 9.0).abs() < 1e-6);
        // An effect of a repeat or of a context on both candidates alike does not count.
        let alike = vec![
            vec![vec![0.0, 2.0], vec![5.0, 3.0]],
            vec![vec![100.0, 112.0], vec![105.0, 113.0]],
        ];
        assert!((reliability(&alike).unwrap().single - 5.0 / 13.0).abs() < 1e-4);
        let certain = vec![vec![vec![1.0, 2.0], vec![2.0, 3.0]]];
        assert_eq!(reliability(&certain).unwrap().single, 1.0);
    }

    #[test]
    fn nothing_is_said_of_single_measurements() {
        assert_eq!(reliability(&[vec![vec![1.0], vec![2.0]]]), None);
        assert_eq!(reliability(&[vec![vec![1.0, 2.0]]]), None);
        assert_eq!(reliability(&[]), None);
        let all_equal = vec![vec![vec![0.0, 0.0], vec![0.0, 0.0]]];
        assert_eq!(reliability(&all_equal), None);
    }
}
