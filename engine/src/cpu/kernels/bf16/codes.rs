//! How the codes of a quantised matrix lie in memory.
//!
//! A panel is `[inputs / 32]` groups. A group holds its scales, its zeros, its codes and, of codes of five
//! bits, their fifth bits.

use crate::cpu::kernels::int8::bits_for;
use crate::weights::{BLOCK, BlockRow};
use half::f16;

/// Pairs along K that share a scale and a zero.
pub(super) const GROUP_PAIRS: usize = BLOCK / 2;
/// Vectors of a group once it is dequantised.
pub(super) const GROUP_VECTORS: usize = 2 * GROUP_PAIRS;

/// The widths of a panel's codes and scales.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct CodeFormat {
    /// Bits of a code: 4, 5 or 8.
    pub bits: usize,
    /// Whether scale and zero have 16 bits; else they have 32.
    pub short: bool,
}

impl CodeFormat {
    /// The narrowest format that holds the codes and scales of a panel exactly.
    pub fn of(rows: &[BlockRow]) -> Self {
        let codes = rows.iter().flat_map(|(codes, _)| codes.as_flattened());
        let scales = rows.iter().flat_map(|(_, scales)| scales.as_flattened());
        let short = |x: &f32| f16::from_f32(*x).to_f32() == *x;
        CodeFormat {
            bits: bits_for(codes.fold(0, |most, code| most.max(*code))),
            short: { scales }.all(short),
        }
    }

    /// Vectors that a group's scales take; its zeros take as many.
    pub const fn scales(self) -> usize {
        if self.short { 1 } else { 2 }
    }

    /// Vectors that a group's codes take. A vector of 8-bit codes holds one pair of inputs. A vector of shorter
    /// codes holds two pairs: one in the lower halves of the bytes, the next in the upper halves.
    pub const fn codes(self) -> usize {
        if self.bits == 8 { 16 } else { 8 }
    }

    /// Vectors that the fifth bits take: 32 bits for each dequantised vector.
    pub const fn high_bits(self) -> usize {
        if self.bits == 5 { 2 } else { 0 }
    }

    /// Vectors of a group in all.
    pub const fn size(self) -> usize {
        2 * self.scales() + self.codes() + self.high_bits()
    }
}
