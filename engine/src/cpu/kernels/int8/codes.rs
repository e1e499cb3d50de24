//! Codes of 4, 5 or 8 bits, and their way back to bytes.
//!
//! A group is 32 codes along K. Unpacked it is 32 rows, with a byte for each of a panel's outputs. With codes of
//! four bits it is 16 rows: the codes of row k are the lower halves of the bytes, those of row k + 16 the
//! upper halves. With codes of five bits 4 more rows hold the fifth bits, each those of 8 rows of codes. So a
//! group has four times as many rows as a code has bits.

/// Outputs of a panel.
pub const PANEL: usize = 32;
/// Weights along K that share a scale and a zero.
pub const GROUP: usize = 32;

/// One byte for each of a panel's outputs.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub struct CodeRow(pub [u8; PANEL]);

/// A group's codes, unpacked.
pub type Bytes = [CodeRow; GROUP];

pub const NO_BYTES: Bytes = [CodeRow([0; PANEL]); GROUP];

/// Rows of a group of four bits.
const HALF: usize = GROUP / 2;

/// The fewest bits that hold the code.
pub fn bits_for(most: u8) -> usize {
    match most {
        0..16 => 4,
        16..32 => 5,
        _ => 8,
    }
}

/// Rows of a packed group.
pub const fn rows(bits: usize) -> usize {
    4 * bits
}

/// Packs the codes of a group.
pub fn pack(group: &[[u8; PANEL]; GROUP], bits: usize) -> Vec<CodeRow> {
    let bytes = group.map(CodeRow);
    if bits == 8 {
        return bytes.to_vec();
    }
    let (low, high) = bytes.split_at(HALF);
    let both = |(low, high): (&CodeRow, &CodeRow)| {
        CodeRow(std::array::from_fn(|i| low.0[i] & 15 | high.0[i] << 4))
    };
    let mut packed: Vec<CodeRow> = low.iter().zip(high).map(both).collect();
    if bits == 5 {
        packed.extend(bytes.chunks_exact(8).map(|eight| {
            let top = |i: usize, r: usize| eight[r].0[i] >> 4 << r;
            CodeRow(std::array::from_fn(|i| {
                (0..8).fold(0, |tops, r| tops | top(i, r))
            }))
        }));
    }
    packed
}

/// Code `k` of one output, from a group's packed rows.
pub fn code(rows: &[CodeRow], lane: usize, k: usize, bits: usize) -> u8 {
    if bits == 8 {
        return rows[k].0[lane];
    }
    let low = rows[k % HALF].0[lane] >> (k / HALF * 4) & 15;
    match bits {
        5 => low | (rows[HALF + k / 8].0[lane] >> (k % 8) & 1) << 4,
        _ => low,
    }
}

/// A group's codes as bytes. Codes of eight bits are returned from where they lie; others are unpacked into `bytes`.
#[inline(always)]
pub fn unpack<'a>(rows: &'a [CodeRow], bits: usize, bytes: &'a mut Bytes) -> &'a Bytes {
    if bits == 8 {
        return rows.try_into().expect("a group of eight bits");
    }
    unpack_into(rows, bits, bytes);
    bytes
}

/// [`unpack`] that always copies. Eight bytes are shifted as one word; the bits that a shift brings over from a
/// neighbouring byte are masked away.
#[inline(always)]
pub fn unpack_into(rows: &[CodeRow], bits: usize, bytes: &mut Bytes) {
    match bits {
        8 => *bytes = *<&Bytes>::try_from(rows).expect("a group of eight bits"),
        5 => unpack_5(rows.try_into().expect("a group of five bits"), bytes),
        _ => unpack_4(rows.try_into().expect("a group of four bits"), bytes),
    }
}

#[inline(always)]
fn unpack_4(rows: &[CodeRow; HALF], bytes: &mut Bytes) {
    for r in 0..HALF {
        bytes[r] = low(rows[r]);
        bytes[r + HALF] = high(rows[r]);
    }
}

#[inline(always)]
fn unpack_5(rows: &[CodeRow; HALF + 4], bytes: &mut Bytes) {
    for first in [0, 8] {
        let (tops, high_tops) = (rows[HALF + first / 8], rows[HALF + 2 + first / 8]);
        for r in 0..8 {
            let row = rows[first + r];
            bytes[first + r] = or(low(row), top(tops, r));
            bytes[first + r + HALF] = or(high(row), top(high_tops, r));
        }
    }
}

#[inline(always)]
fn low(row: CodeRow) -> CodeRow {
    let mut words = row.words();
    for word in &mut words {
        *word &= 0x0f0f_0f0f_0f0f_0f0f;
    }
    CodeRow::of(words)
}

#[inline(always)]
fn high(row: CodeRow) -> CodeRow {
    let mut words = row.words();
    for word in &mut words {
        *word = *word >> 4 & 0x0f0f_0f0f_0f0f_0f0f;
    }
    CodeRow::of(words)
}

/// Bit `nth` of each byte, moved to the place of a fifth bit.
#[inline(always)]
fn top(row: CodeRow, nth: usize) -> CodeRow {
    let mut words = row.words();
    for word in &mut words {
        *word = match nth {
            0..4 => *word << (4 - nth),
            _ => *word >> (nth - 4),
        } & 0x1010_1010_1010_1010;
    }
    CodeRow::of(words)
}

#[inline(always)]
fn or(a: CodeRow, b: CodeRow) -> CodeRow {
    let (mut words, other) = (a.words(), b.words());
    for (word, other) in words.iter_mut().zip(other) {
        *word |= other;
    }
    CodeRow::of(words)
}

impl CodeRow {
    #[inline(always)]
    fn words(self) -> [u64; 4] {
        // SAFETY: the same bytes, all of whose values are words.
        unsafe { std::mem::transmute(self.0) }
    }

    #[inline(always)]
    fn of(words: [u64; 4]) -> Self {
        // SAFETY: as above.
        CodeRow(unsafe { std::mem::transmute::<[u64; 4], [u8; 32]>(words) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_every_width_come_back() {
        for bits in [4, 5, 8] {
            let value = |k: usize, lane: usize| ((k * 37 + lane * 11) % (1 << bits)) as u8;
            let codes: [[u8; PANEL]; GROUP] =
                std::array::from_fn(|k| std::array::from_fn(|lane| value(k, lane)));
            let packed = pack(&codes, bits);
            assert_eq!(packed.len(), rows(bits));
            let mut bytes = NO_BYTES;
            let bytes = unpack(&packed, bits, &mut bytes);
            for (k, codes) in codes.iter().enumerate() {
                for (lane, want) in codes.iter().enumerate() {
                    assert_eq!(code(&packed, lane, k, bits), *want, "{bits} bits");
                    assert_eq!(bytes[k].0[lane], *want, "{bits} bits, unpacked");
                }
            }
        }
    }

    #[test]
    fn the_fewest_bits_are_chosen() {
        let chosen = [0, 15, 16, 31, 32, 255].map(bits_for);
        assert_eq!(chosen, [4, 4, 5, 5, 8, 8]);
    }
}
