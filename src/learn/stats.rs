//! Means with their confidence intervals. Questions about one passage stand or fall together, so passages are
//! resampled, not questions (cluster bootstrap).

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    pub mean: f32,
    /// 95 % interval.
    pub low: f32,
    pub high: f32,
    /// Values.
    pub n: usize,
}

const RESAMPLES: usize = 2000;

/// Mean of all values, with the 95 % interval by resampling whole clusters. The seed is fixed, so the same
/// values give the same interval. Clusters without values are left out; without any value all figures are 0.
pub fn estimate(clusters: &[Vec<f32>]) -> Estimate {
    let clusters: Vec<&[f32]> = clusters
        .iter()
        .filter(|c| !c.is_empty())
        .map(Vec::as_slice)
        .collect();
    let n = clusters.iter().map(|c| c.len()).sum();
    if n == 0 {
        return Estimate {
            mean: 0.0,
            low: 0.0,
            high: 0.0,
            n,
        };
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut means: Vec<f32> = (0..RESAMPLES)
        .map(|_| {
            let drawn = (0..clusters.len()).map(|_| clusters[rng.random_range(0..clusters.len())]);
            mean(drawn.flatten())
        })
        .collect();
    means.sort_by(f32::total_cmp);
    Estimate {
        mean: mean(clusters.iter().copied().flatten()),
        low: means[RESAMPLES * 25 / 1000],
        high: means[RESAMPLES * 975 / 1000],
        n,
    }
}

/// The ratio of two means, with its 95 % interval. The nth cluster of both is resampled together.
pub fn estimate_ratio(over: &[Vec<f32>], under: &[Vec<f32>]) -> Estimate {
    let ratio = |drawn: &[usize]| {
        let of = |clusters: &[Vec<f32>]| mean(drawn.iter().flat_map(|i| &clusters[*i]));
        match of(under) {
            0.0 => 0.0,
            under => of(over) / under,
        }
    };
    let all: Vec<usize> = (0..over.len().min(under.len())).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut ratios: Vec<f32> = (0..RESAMPLES)
        .map(|_| {
            let drawn = all.iter().map(|_| rng.random_range(0..all.len()));
            ratio(&drawn.collect::<Vec<_>>())
        })
        .collect();
    ratios.sort_by(f32::total_cmp);
    Estimate {
        mean: ratio(&all),
        low: ratios[RESAMPLES * 25 / 1000],
        high: ratios[RESAMPLES * 975 / 1000],
        n: over.iter().map(Vec::len).sum(),
    }
}

fn mean<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    let (mut sum, mut n) = (0.0, 0);
    for v in values {
        sum += v;
        n += 1;
    }
    if n == 0 { 0.0 } else { sum / n as f32 }
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mean, low, high) = (100.0 * self.mean, 100.0 * self.low, 100.0 * self.high);
        write!(f, "{mean:.1} % [{low:.1}, {high:.1}]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_mean_and_narrows_with_more_clusters() {
        let few: Vec<Vec<f32>> = (0..6).map(|i| vec![(i % 2) as f32; 4]).collect();
        let many: Vec<Vec<f32>> = (0..600).map(|i| vec![(i % 2) as f32; 4]).collect();
        let (few, many) = (estimate(&few), estimate(&many));
        assert_eq!((few.mean, few.n), (0.5, 24));
        assert!(few.low < 0.5 && 0.5 < few.high);
        // The standard error of 600 coin flips is 0.02, so the interval is about 0.08 wide.
        assert!((many.high - many.low - 0.08).abs() < 0.01, "{many:?}");
    }

    #[test]
    fn a_ratio_of_proportional_clusters_has_no_spread() {
        let under: Vec<Vec<f32>> = (1..9).map(|i| vec![i as f32; 3]).collect();
        let over: Vec<Vec<f32>> = (1..9).map(|i| vec![i as f32 * 0.5; 3]).collect();
        let half = estimate_ratio(&over, &under);
        assert!(
            (half.mean - 0.5).abs() < 1e-6 && half.high - half.low < 1e-5,
            "{half:?}"
        );
        assert_eq!(estimate_ratio(&[vec![1.0]], &[vec![0.0]]).mean, 0.0);
    }

    #[test]
    fn nothing_measured_is_zero_and_no_part_of_what_is() {
        assert_eq!(estimate_ratio(&[], &[]).n, 0);
        assert_eq!(estimate(&[]).n, 0);
        let all = estimate(&[vec![1.0], vec![], vec![], vec![1.0]]);
        assert_eq!((all.low, all.high), (1.0, 1.0));
    }
}
