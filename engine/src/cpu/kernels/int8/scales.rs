//! Finds the scale and the zero of a group of weights.

use super::codes::GROUP;
use half::f16;

/// Scale and zero that represent the group by codes 0..=255. If the group's values are that many even steps,
/// the scale is their own step, and the zero is one that 16 bits hold, if one exists (a quantised file's own).
/// Otherwise the scale is a 255th of the values' range.
pub fn fit(group: &[f32]) -> (f32, f32) {
    let least = group
        .iter()
        .fold(group[0], |a, b| if *b < a { *b } else { a });
    let most = group
        .iter()
        .fold(group[0], |a, b| if *b > a { *b } else { a });
    let coarse = (most - least) / 255.0;
    if coarse <= 0.0 {
        return (0.0, least);
    }
    let gap = narrowest(group, least, coarse);
    let own = (most - least) / nearest((most - least) / gap);
    // Q8_0's step, should no two neighbouring codes occur.
    let eighth_bit = most.abs().max(least.abs()) / 127.0;
    let found = [(own, least), (eighth_bit, -128.0 * eighth_bit)]
        .into_iter()
        .find(|(step, first)| {
            let at = |x: f32| (x - first) / step;
            let off = |x: &f32| u32::from((at(*x) - nearest(at(*x))).abs() >= 0.01);
            at(most) < 255.5 && group.iter().map(off).sum::<u32>() == 0
        });
    match found {
        Some((step, first)) => short(step, first, group, least, most).unwrap_or((step, first)),
        None => (coarse, least),
    }
}

/// The smallest distance of two different values, found without sorting: a model has millions of groups.
///
/// Of values on at most 256 even steps, no two different ones lie in the same 255th of the range. Two values
/// in the same 255th are therefore equal but for rounding, or the group lies on no such steps.
fn narrowest(group: &[f32], least: f32, coarse: f32) -> f32 {
    let mut nths = [0; GROUP];
    let nths = &mut nths[..group.len()];
    for (nth, value) in nths.iter_mut().zip(group) {
        *nth = nearest((value - least) / coarse) as u32;
    }
    let mut values = [0.0; 256];
    let mut taken = [0_u64; 4];
    for (nth, value) in nths.iter().zip(group) {
        let nth = (*nth & 255) as usize;
        values[nth] = *value;
        taken[nth / 64] |= 1 << (nth % 64);
    }
    let (mut before, mut gap) = (f32::NEG_INFINITY, f32::INFINITY);
    for (word, mut bits) in taken.into_iter().enumerate() {
        while bits != 0 {
            let value = values[64 * word + bits.trailing_zeros() as usize];
            gap = gap.min(value - before);
            before = value;
            bits &= bits - 1;
        }
    }
    gap
}

/// The nearest whole number, for numbers below 2²². `f32::round` would be a function call where the target has
/// no instruction for it.
fn nearest(x: f32) -> f32 {
    const LAST_BIT_IS_ONE: f32 = 12_582_912.0;
    (x + LAST_BIT_IS_ONE) - LAST_BIT_IS_ONE
}

/// Scale and zero, both of 16 bits, that give every value exactly, from the values' step and a first value.
fn short(step: f32, first: f32, values: &[f32], least: f32, most: f32) -> Option<(f32, f32)> {
    if !is_short(step) {
        return None;
    }
    let used = nearest((most - first) / step);
    let levels = [16.0, 32.0].into_iter().find(|n| used < *n);
    let levels = levels.unwrap_or(256.0);
    let meets = |scale: f32, zero: f32| {
        let at = |x: f32| nearest((x - zero) / scale);
        let value = |x: f32| f64::from(at(x)) * f64::from(scale) + f64::from(zero);
        let inside = |x: f32| (0.0..levels).contains(&at(x));
        inside(least) && inside(most) && values.iter().all(|x| value(*x) as f32 == *x)
    };
    // Codes of Q4_0, Q5_0 and Q8_0 lie around 0, and their scale has either sign: these three are tried first.
    let half = levels / 2.0 * step;
    let around = [(step, first), (step, -half), (-step, half)];
    let below = (1..(levels - used) as usize).map(|j| (step, first - j as f32 * step));
    let mut all = around.into_iter().chain(below);
    all.find(|(scale, zero)| is_short(*zero) && meets(*scale, *zero))
}

fn is_short(x: f32) -> bool {
    f16::from_f32(x).to_f32() == x
}

#[cfg(test)]
mod tests {
    use super::super::panels::{Panels, Scales, matrix};
    use super::*;
    use crate::cpu::kernels::numbers;

    /// Weights as a quantised file holds them: for every 32 a scale of 16 bits, of either sign, and what
    /// `zero` makes of it and of a random number.
    fn of_a_file(n: usize, levels: f32, zero: impl Fn(f32, f32) -> f32) -> Vec<f32> {
        let random = numbers(n, 5);
        let short = |x: f32| f16::from_f32(x).to_f32();
        let value = |i: usize| {
            let scale = short(random[i / GROUP] * 0.01);
            // Q8_0 has its largest value at step 127.
            let q = match i % GROUP {
                0 if levels > 32.0 => 1.0,
                _ if levels > 32.0 => 1.0 + ((random[i] + 0.5) * 255.0).floor(),
                _ => ((random[i] + 0.5) * levels).floor(),
            };
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
            let cases = [("steps around 0", even), ("a zero of its own", own)];
            for (case, w) in cases.iter().take(if bits == 8 { 1 } else { 2 }) {
                let panels = Panels::pack(std::slice::from_ref(w), k);
                assert!(matrix(&panels) == *w, "{case}, {levels} levels");
                for panel in &panels.panels {
                    assert!(panel.bits <= bits, "{case}, {levels} levels");
                    let short = matches!(panel.scales, Scales::Half(_));
                    // A negative scale with a zero of its own is no file's.
                    assert!(
                        short || *case != "steps around 0",
                        "{case}, {levels} levels"
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
            let panels = Panels::pack(std::slice::from_ref(&w), k);
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
        let again = matrix(&Panels::pack(std::slice::from_ref(&random), k));
        for (group, again) in random.chunks(GROUP).zip(again.chunks(GROUP)) {
            let most = group.iter().copied().fold(f32::MIN, f32::max);
            let least = group.iter().copied().fold(f32::MAX, f32::min);
            for (a, b) in group.iter().zip(again) {
                assert!((a - b).abs() <= (most - least) / 509.0, "{a} became {b}");
            }
        }
    }
}
