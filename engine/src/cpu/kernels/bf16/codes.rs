//! How the codes of a quantised matrix lie in memory.

use crate::cpu::kernels::int8::bits_for;
use crate::weights::{BLOCK, BlockRow};
use half::f16;

/// Pairs along K that share a scale and a zero.
pub(super) const GROUP_PAIRS: usize = BLOCK / 2;
/// Lines of a group's pairs.
pub(super) const GROUP_LINES: usize = 2 * GROUP_PAIRS;

/// How a group lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Of a code: 4, 5 or 8.
    pub bits: usize,
    /// Whether scale and zero have 16 bits, and not 32.
    pub short: bool,
}

impl Form {
    /// The narrowest that holds the codes and steps of a panel.
    pub fn of(rows: &[BlockRow]) -> Self {
        let codes = rows.iter().flat_map(|(codes, _)| codes.as_flattened());
        let steps = rows.iter().flat_map(|(_, steps)| steps.as_flattened());
        let short = |x: &f32| f16::from_f32(*x).to_f32() == *x;
        Form {
            bits: bits_for(codes.fold(0, |most, code| most.max(*code))),
            short: { steps }.all(short),
        }
    }

    /// Lines of the scales, and as many of the zeros, of a panel's outputs.
    pub const fn steps(self) -> usize {
        if self.short { 1 } else { 2 }
    }

    /// Lines of codes: two of the product's lines in each. Of four bits and of five a pair's lines are the lower
    /// halves of the bytes, the next pair's the upper ones.
    pub const fn codes(self) -> usize {
        if self.bits == 8 { 16 } else { 8 }
    }

    /// Lines of top bits, 32 for each of the product's lines.
    pub const fn tops(self) -> usize {
        if self.bits == 5 { 2 } else { 0 }
    }

    pub const fn size(self) -> usize {
        2 * self.steps() + self.codes() + self.tops()
    }
}
