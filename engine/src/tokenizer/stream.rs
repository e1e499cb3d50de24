//! Tokens to text, one token at a time, for streaming.

use super::Tokenizer;

/// Decodes a stream of tokens. The bytes of an incomplete character are held back until it is complete.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    held: Vec<u8>,
    skip_control: bool,
}

impl StreamDecoder {
    /// `skip_control` leaves control tokens out.
    pub fn new(skip_control: bool) -> Self {
        StreamDecoder {
            held: Vec::new(),
            skip_control,
        }
    }

    /// The text that this token completes, possibly empty. All results and [`finish`](Self::finish) together equal
    /// [`Tokenizer::decode`] of all tokens.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        if self.skip_control && tokenizer.is_control(id) {
            return String::new();
        }
        self.held.extend_from_slice(tokenizer.token_bytes(id));
        let complete = self.held.len() - incomplete_tail(&self.held);
        let text = String::from_utf8_lossy(&self.held[..complete]).into_owned();
        self.held.drain(..complete);
        text
    }

    /// The bytes that are still held back, as U+FFFD.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

/// The number of bytes at the end that later bytes could still complete to a character.
fn incomplete_tail(bytes: &[u8]) -> usize {
    match bytes.utf8_chunks().last() {
        Some(last) if is_prefix(last.invalid()) => last.invalid().len(),
        _ => 0,
    }
}

/// Whether `bytes`, an invalid chunk at the end of the text, are the start of a character.
fn is_prefix(bytes: &[u8]) -> bool {
    matches!(std::str::from_utf8(bytes), Err(e) if e.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::incomplete_tail;

    #[test]
    fn holds_only_what_may_become_a_character() {
        let face = "🦀".as_bytes();
        for n in 1..4 {
            assert_eq!(incomplete_tail(&face[..n]), n);
        }
        assert_eq!(incomplete_tail(face), 0);
        assert_eq!(incomplete_tail(b"abc"), 0);
        assert_eq!(incomplete_tail(b"abc\xFF"), 0);
        assert_eq!(incomplete_tail(b"\xE4\xB8\xE4\xB8"), 2);
        assert_eq!(incomplete_tail(b""), 0);
    }
}
