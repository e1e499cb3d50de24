//! GPT-2's byte-level alphabet: each byte of a token is spelled as one printable character (a space is `Ġ`), so
//! that a vocabulary can be written as text.

/// The character that spells each byte.
pub fn alphabet() -> [char; 256] {
    let mut free = 256..;
    std::array::from_fn(|byte| {
        let printable = matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
        let code = if printable {
            byte as u32
        } else {
            free.next().expect("the range is endless")
        };
        char::from_u32(code).expect("below the surrogates")
    })
}

/// The bytes of a vocabulary entry; `None` if it has a character outside the alphabet.
pub fn decode(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte).collect()
}

fn byte(c: char) -> Option<u8> {
    match c as u32 {
        code @ (0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF) => Some(code as u8),
        // The unprintable bytes in order: 0x00-0x20, 0x7F-0xA0, 0xAD.
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spells_every_byte_and_back() {
        for (byte, c) in alphabet().into_iter().enumerate() {
            assert_eq!(decode(&c.to_string()), Some(vec![byte as u8]));
        }
        assert_eq!(alphabet()[b' ' as usize], 'Ġ');
        assert_eq!(alphabet()[b'\n' as usize], 'Ċ');
        assert_eq!(decode("日"), None);
    }
}
