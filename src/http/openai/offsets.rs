//! Where each token of an answer begins in its text, in characters.

/// Counts the characters of one choice's text as its tokens come. A character may be spread over several tokens, and
/// bytes that never become one are U+FFFD in the text.
#[derive(Debug, Clone, Default)]
pub struct Offsets {
    /// Number of whole characters so far.
    characters: usize,
    /// Bytes after them that may still become a character.
    open: Vec<u8>,
}

impl Offsets {
    /// Takes the bytes that a token adds to the text. Returns the offset of the character that the token begins in.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let before = self.open.len();
        self.open.extend_from_slice(bytes);
        let (mut begins, mut end) = (self.characters, 0);
        let mut character = |length: usize, begins: &mut usize, end: &mut usize| {
            self.characters += 1;
            *end += length;
            if *end <= before {
                *begins = self.characters;
            }
        };
        for chunk in self.open.utf8_chunks() {
            for c in chunk.valid().chars() {
                character(c.len_utf8(), &mut begins, &mut end);
            }
            let invalid = chunk.invalid();
            let may_continue = end + invalid.len() == self.open.len()
                && std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
            if !invalid.is_empty() && !may_continue {
                character(invalid.len(), &mut begins, &mut end);
            }
        }
        self.open.drain(..end);
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(tokens: &[&[u8]]) -> Vec<usize> {
        let mut offsets = Offsets::default();
        tokens.iter().map(|token| offsets.push(token)).collect()
    }

    #[test]
    fn a_token_begins_in_a_character() {
        assert_eq!(offsets(&[b"caf\xc3", b"\xa9 ", b"x"]), [0, 3, 5]);
        assert_eq!(offsets(&["né".as_bytes(), "è".as_bytes(), b"!"]), [0, 2, 3]);
        // An emoji of four tokens, and a control token without text.
        assert_eq!(
            offsets(&[b"a", b"\xf0", b"\x9f", b"", b"\x98", b"\x80b", b"c"]),
            [0, 1, 1, 1, 1, 1, 3]
        );
        // A character of its own follows one that was never finished: "\u{FFFD}ab".
        assert_eq!(offsets(&[b"\xe2", b"a", b"b"]), [0, 1, 2]);
        assert_eq!(offsets(&[b"\xe2\x80", b"\xff", b"b"]), [0, 1, 2]);
        assert_eq!(offsets(&[b"\xff\xfe", b"b"]), [0, 2]);
    }

    /// However the text is cut, each offset counts the characters that end before the token.
    #[test]
    fn offsets_agree_with_the_whole_text() {
        let text = "Zoë — 日本 😀 ok";
        for cut in 1..6 {
            let tokens: Vec<&[u8]> = text.as_bytes().chunks(cut).collect();
            let counted = (0..tokens.len()).map(|i| {
                let start = i * cut;
                text.char_indices()
                    .filter(|(at, c)| at + c.len_utf8() <= start)
                    .count()
            });
            assert_eq!(offsets(&tokens), counted.collect::<Vec<_>>(), "{cut}");
        }
    }
}
