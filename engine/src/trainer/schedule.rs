//! The learning rate over the steps, as transformers computes it, except that the first step of the warm-up
//! already has a rate above 0.

use serde::{Deserialize, Serialize};

/// The course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    Constant,
    /// Falls in a straight line to 0 after the last step.
    #[default]
    Linear,
    /// Falls along half a cosine to 0 after the last step.
    Cosine,
}

impl Schedule {
    /// The factor of the learning rate in step `step` (from 0) of `total`.
    pub fn factor(self, step: usize, warmup: usize, total: usize) -> f32 {
        if step < warmup {
            return (step + 1) as f32 / warmup as f32;
        }
        let span = total.saturating_sub(warmup).max(1) as f32;
        let progress = ((step - warmup) as f32 / span).min(1.0);
        match self {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - progress,
            Schedule::Cosine => 0.5 * (1.0 + (std::f32::consts::PI * progress).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warms_up_and_falls() {
        let factors = |s: Schedule| (0..6).map(|i| s.factor(i, 2, 6)).collect::<Vec<_>>();
        assert_eq!(factors(Schedule::Constant), [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(factors(Schedule::Linear), [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]);
        let cosine = factors(Schedule::Cosine);
        for (got, want) in cosine
            .iter()
            .zip([0.5, 1.0, 1.0, 0.853_553, 0.5, 0.146_447])
        {
            assert!((got - want).abs() < 1e-6, "{cosine:?}");
        }
    }
}
