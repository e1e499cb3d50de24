//! Scans of a row of logits, for the sampler and the loss.

/// Logits that are looked at together.
const CHUNK: usize = 64;

/// The largest value that is a number. In lanes, so that the compiler uses the processor's vectors.
pub fn max(values: &[f32]) -> f32 {
    let mut best = [f32::NEG_INFINITY; 16];
    let (blocks, rest) = values.as_chunks::<16>();
    for block in blocks {
        for (best, value) in best.iter_mut().zip(block) {
            *best = if value > best { *value } else { *best };
        }
    }
    let all = best.iter().chain(rest).copied();
    all.fold(f32::NEG_INFINITY, f32::max)
}

/// The tokens whose values are at least `least`, ascending, with their values. Chunks of lower ones are passed over
/// whole.
pub fn at_least(values: &[f32], least: f32) -> impl Iterator<Item = (u32, f32)> {
    let chunks = (0u32..).step_by(CHUNK).zip(values.chunks(CHUNK));
    let with = chunks.filter(move |(_, chunk)| max(chunk) >= least);
    let places = with.flat_map(|(start, chunk)| (start..).zip(chunk.iter().copied()));
    places.filter(move |(_, value)| *value >= least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_value_counts_everywhere_and_nan_nowhere() {
        for len in [1, 63, 64, 65, 150] {
            for at in [0, len / 2, len - 1] {
                let mut values = vec![0.5; len];
                values[(at + 1) % len] = f32::NAN;
                values[at] = 1.0;
                let found: Vec<_> = at_least(&values, 1.0).collect();
                assert_eq!(found, [(at as u32, 1.0)], "{at} of {len}");
                assert_eq!(max(&values), 1.0);
            }
        }
    }
}
