//! Text to tokens and back, with one rule that matters for safety: what a user wrote never becomes a
//! *control token* (`<|im_end|>` and its like), however it is spelled.
//!
//! The tokenizers crate finds the spellings of added tokens in any text it is given. So its model is
//! built here **without** them, and they are matched by this module, only where the caller says
//! the text is trusted. Between two control tokens the text is encoded in one piece, which gives
//! the same ids as the reference on harmless text.
//!
//! Only byte-level BPE is supported: every family this engine runs uses it, and it lets each token be a
//! plain byte string ([`Tokenizer::token_bytes`]), which streaming and grammars need.

mod build;
mod bytes;
mod stream;

pub use build::{Added, Bpe};
pub(crate) use bytes::alphabet;
pub use stream::StreamDecoder;

use crate::error::{Error, Result};
use std::borrow::Cow;
use std::ops::Range;

pub struct Tokenizer {
    /// Knows no added token.
    plain: tokenizers::Tokenizer,
    /// Longest spelling first.
    added: Vec<Added>,
    /// All tokens' bytes, end to end; token i ends at `ends[i]`.
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// `control[id]`
    control: Vec<bool>,
}

impl Tokenizer {
    /// Plain text: no part of it becomes a control token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.encode_piece(text, &mut ids)?;
        Ok(ids)
    }

    /// Trusted text: the spelling of a control token is that token.
    pub fn encode_with_control(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_spans(text, &[])
    }

    /// Control tokens are recognised only where they overlap none of the `untrusted` byte ranges.
    /// An empty range forbids a token across that place.
    pub fn encode_spans(&self, text: &str, untrusted: &[Range<usize>]) -> Result<Vec<u32>> {
        let trusted = |token: &Range<usize>| {
            !untrusted
                .iter()
                .any(|r| token.start < r.end && r.start < token.end)
        };
        let mut ids = Vec::new();
        let mut from = 0;
        for (place, added) in self.matches(text, trusted) {
            self.encode_piece(&text[from..place.start], &mut ids)?;
            ids.push(added.id);
            from = place.end;
        }
        self.encode_piece(&text[from..], &mut ids)?;
        Ok(ids)
    }

    /// Invalid UTF-8 becomes U+FFFD. `skip_control` leaves control tokens out.
    pub fn decode(&self, ids: &[u32], skip_control: bool) -> String {
        let kept = ids
            .iter()
            .filter(|id| !(skip_control && self.is_control(**id)));
        let bytes: Vec<u8> = kept.flat_map(|id| self.token_bytes(*id)).copied().collect();
        match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
        }
    }

    /// The bytes a token stands for; none for ids that stand for no text.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(end) = self.ends.get(id) else {
            return &[];
        };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start as usize..*end as usize]
    }

    /// A token for people to read; parts of a character show as U+FFFD.
    pub fn token_text(&self, id: u32) -> Cow<'_, str> {
        String::from_utf8_lossy(self.token_bytes(id))
    }

    /// The id of an added token's spelling, or of a token as the vocabulary writes it (`Ġthe`).
    pub fn id_of(&self, spelling: &str) -> Option<u32> {
        let added = self.added.iter().find(|a| a.text == spelling);
        added
            .map(|a| a.id)
            .or_else(|| self.plain.token_to_id(spelling))
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.ends.len()
    }

    /// A token that structures the conversation instead of standing for text.
    pub fn is_control(&self, id: u32) -> bool {
        self.control.get(id as usize).copied().unwrap_or(false)
    }

    /// Added tokens, control tokens among them.
    pub fn added(&self) -> &[Added] {
        &self.added
    }

    /// Where added tokens' spellings that pass `accept` stand: leftmost first, then longest.
    pub(crate) fn matches<'a>(
        &'a self,
        text: &'a str,
        accept: impl Fn(&Range<usize>) -> bool + 'a,
    ) -> impl Iterator<Item = (Range<usize>, &'a Added)> + 'a {
        let mut from = 0;
        std::iter::from_fn(move || {
            while from < text.len() {
                let at = from;
                let found = self.added.iter().find(|a| {
                    text.as_bytes()[at..].starts_with(a.text.as_bytes())
                        && accept(&(at..at + a.text.len()))
                });
                match found {
                    Some(added) => {
                        from = at + added.text.len();
                        return Some((at..from, added));
                    }
                    None => from += 1,
                }
            }
            None
        })
    }

    fn encode_piece(&self, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        if !text.is_empty() {
            let encoding = self.plain.encode_fast(text, false);
            ids.extend_from_slice(
                encoding
                    .map_err(|e| Error::Tokenizer(e.to_string()))?
                    .get_ids(),
            );
        }
        Ok(())
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokenizer({} tokens)", self.vocab_size())
    }
}
