//! The steps a group of weights lies on.

use super::panels::GROUP;
use half::f16;

/// Scale and zero that represent the group by codes 0..=255: the group's own, where its values are that
/// many even steps, else a 255th of their range. Of the zeros that do, one that 16 bits hold, where there
/// is one: the file's.
pub fn fit(group: &[f32]) -> (f32, f32) {
    let mut sorted = [f32::INFINITY; GROUP];
    sorted[..group.len()].copy_from_slice(group);
    let sorted = &mut sorted[..group.len()];
    sorted.sort_unstable_by(f32::total_cmp);
    let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
    let coarse = (most - least) / 255.0;
    // Values that are the same but for rounding make no step.
    let gaps = sorted.windows(2).map(|pair| pair[1] - pair[0]);
    let gaps = gaps.filter(|gap| *gap > coarse / 2.0);
    let gap = gaps.fold(most - least, f32::min);
    if gap <= 0.0 {
        return (0.0, least);
    }
    let own = (most - least) / ((most - least) / gap).round();
    // Q8_0's step: all its values may lie further apart.
    let eighth_bit = most.abs().max(least.abs()) / 127.0;
    let found = [(own, least), (eighth_bit, -128.0 * eighth_bit)]
        .into_iter()
        .find(|(step, first)| {
            let at = |x: f32| (x - first) / step;
            at(most) < 255.5
                && sorted
                    .iter()
                    .all(|x| (at(*x) - at(*x).round()).abs() < 0.01)
        });
    match found {
        Some((step, first)) => (step, short_zero(step, first, sorted).unwrap_or(first)),
        None => (coarse, least),
    }
}

/// A zero of 16 bits, some steps below `first`, from which every value is met exactly.
fn short_zero(step: f32, first: f32, values: &[f32]) -> Option<f32> {
    if !is_short(step) {
        return None;
    }
    let most = values[values.len() - 1];
    let used = ((most - first) / step).round();
    let levels = [16.0, 32.0].into_iter().find(|n| used < *n);
    let levels = levels.unwrap_or(256.0);
    let meets = |zero: f32| {
        let at = |x: f32| ((x - zero) / step).round();
        let value = |x: f32| f64::from(at(x)) * f64::from(step) + f64::from(zero);
        let all = |x: &f32| at(*x) >= 0.0 && value(*x) as f32 == *x;
        at(most) < levels && values.iter().all(all)
    };
    // Where steps lie evenly around 0, as in Q4_0, Q5_0 and Q8_0, the search is over at once.
    let even = -levels / 2.0 * step;
    let below = (0..(levels - used) as usize).map(|j| first - j as f32 * step);
    let mut zeros = [first, even].into_iter().chain(below);
    zeros.find(|zero| is_short(*zero) && meets(*zero))
}

fn is_short(x: f32) -> bool {
    f16::from_f32(x).to_f32() == x
}

#[cfg(test)]
mod tests {
    use super::super::panels::{Panels, Steps, matrix};
    use super::*;
    use crate::cpu::kernels::numbers;

    /// Weights as a quantised file holds them: a scale of 16 bits for every 32, and a zero.
    fn of_a_file(n: usize, levels: f32, zero: impl Fn(f32, f32) -> f32) -> Vec<f32> {
        let random = numbers(n, 5);
        let short = |x: f32| f16::from_f32(x).to_f32();
        let value = |i: usize| {
            let scale = short((random[i / GROUP] + 0.6) * 0.01);
            let q = ((random[i] + 0.5) * levels).floor();
            q * scale + short(zero(scale, random[i / GROUP + 7]))
        };
        (0..n).map(value).collect()
    }

    #[test]
    fn blocks_of_files_come_back_bit_for_bit_as_narrow_as_they_were() {
        let k = 96;
        for (levels, bits) in [(2.0, 4), (16.0, 4), (32.0, 5), (256.0, 8)] {
            let even = of_a_file(40 * k, levels, |scale, _| -levels / 2.0 * scale);
            let own = of_a_file(40 * k, levels, |_, random| random * 0.3);
            for (case, w) in [("even", even), ("own zero", own)] {
                let panels = Panels::pack(&[&w], k);
                assert_eq!(matrix(&panels), w, "{case}, {levels} levels");
                for panel in &panels.panels {
                    assert!(panel.bits <= bits, "{case}, {levels} levels");
                    let short = matches!(panel.steps, Steps::Half(_));
                    assert!(
                        short || case == "own zero" && levels > 32.0,
                        "{case}, {levels}"
                    );
                }
            }
        }
    }

    /// As in Q4_K, whose scale is a product.
    #[test]
    fn even_steps_of_any_size_are_kept() {
        let (n, k) = (40, 96);
        let random = numbers(n * k, 5);
        for levels in [1.0, 2.0, 16.0, 32.0] {
            let q = |i: usize| ((random[i] + 0.5) * levels).floor();
            let value = |i: usize| q(i) * random[i / GROUP] * 0.01 + random[i / GROUP + 7] * 0.3;
            let w: Vec<f32> = (0..n * k).map(value).collect();
            let panels = Panels::pack(&[&w], k);
            for (a, b) in w.iter().zip(matrix(&panels)) {
                assert!((a - b).abs() < 1e-6, "{levels} levels: {a} became {b}");
            }
            let widest = panels.panels.iter().map(|p| p.bits).max();
            assert_eq!(widest, Some(if levels > 16.0 { 5 } else { 4 }));
        }
    }

    #[test]
    fn other_values_are_rounded_to_a_step() {
        let (n, k) = (40, 96);
        let random = numbers(n * k, 5);
        let again = matrix(&Panels::pack(&[&random], k));
        for (group, again) in random.chunks(GROUP).zip(again.chunks(GROUP)) {
            let most = group.iter().copied().fold(f32::MIN, f32::max);
            let least = group.iter().copied().fold(f32::MAX, f32::min);
            for (a, b) in group.iter().zip(again) {
                assert!((a - b).abs() <= (most - least) / 509.0, "{a} became {b}");
            }
        }
    }
}
