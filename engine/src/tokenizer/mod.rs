//! Text to tokens and back, with one rule for safety: text of a user never becomes a *control token*
//! (`<|im_end|>` and its like), however it is spelled.
//!
//! The tokenizers crate matches added tokens in any text that it is given. Its model is therefore built **without**
//! added tokens; this module matches them, in trusted text alone. Text between two control tokens is encoded in
//! one piece, so that harmless text gets the reference's ids.
//!
//! Only byte-level BPE is supported. Every supported family uses it, and it makes each token a plain byte string
//! ([`Tokenizer::token_bytes`]), which streaming and grammars need.

mod build;
mod bytes;
mod stream;

pub use build::{Added, Bpe};
pub(crate) use bytes::alphabet;
pub use stream::StreamDecoder;

use crate::error::{Error, Result};
use std::borrow::Cow;
use std::ops::Range;

/// A byte-level BPE tokenizer.
pub struct Tokenizer {
    /// The BPE, without the added tokens.
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
    /// The tokens of plain text. No part of it becomes an added token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.encode_piece(text, &mut ids)?;
        Ok(ids)
    }

    /// The tokens of trusted text, in which the spelling of an added token is that token.
    pub fn encode_with_control(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_spans(text, &[])
    }

    /// The tokens of text with `untrusted` byte ranges. Added tokens are matched only where they overlap none of the
    /// ranges. An empty range forbids a match across its position.
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

    /// The text of the tokens; invalid UTF-8 becomes U+FFFD. `skip_control` leaves control tokens out.
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

    /// The bytes that a token stands for; empty for an id without text.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(end) = self.ends.get(id) else {
            return &[];
        };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start as usize..*end as usize]
    }

    /// A token's text for people to read; an incomplete character becomes U+FFFD.
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

    /// Whether the token structures the conversation instead of standing for text.
    pub fn is_control(&self, id: u32) -> bool {
        self.control.get(id as usize).copied().unwrap_or(false)
    }

    /// Added tokens, control tokens among them.
    pub fn added(&self) -> &[Added] {
        &self.added
    }

    /// Matches of added tokens whose ranges pass `accept`: the leftmost first, of those the longest.
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
