//! From token bytes to text: whole characters only, and never a byte of a stop string.

/// The text of one sample. Bytes and text that may still become a character or a stop string are held back.
#[derive(Debug, Clone)]
pub struct TextStream {
    stops: Vec<String>,
    /// Bytes of a character that is not complete yet.
    bytes: Vec<u8>,
    /// Text that may be the beginning of a stop string.
    held: String,
}

impl TextStream {
    /// `stops`: the strings that end the sample.
    pub fn new(stops: &[String]) -> Self {
        TextStream {
            stops: stops.to_vec(),
            bytes: Vec::new(),
            held: String::new(),
        }
    }

    /// Takes the bytes of one token. Returns the text that is settled by them, and whether a stop string appeared; the
    /// text then ends before the stop string, and the stream is over.
    pub fn push(&mut self, bytes: &[u8]) -> (String, bool) {
        self.bytes.extend_from_slice(bytes);
        let settled = self.take_characters();
        self.held.push_str(&settled);
        let first_stop = self.stops.iter().filter_map(|s| self.held.find(s.as_str()));
        if let Some(at) = first_stop.min() {
            self.bytes.clear();
            let mut text = std::mem::take(&mut self.held);
            text.truncate(at);
            return (text, true);
        }
        let keep = self.possible_stop();
        let rest = self.held.split_off(self.held.len() - keep);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// The text that was held back, at the end of the sample.
    pub fn finish(&mut self) -> String {
        let mut text = std::mem::take(&mut self.held);
        text.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.bytes)));
        text
    }

    /// Takes all complete characters. Bytes that can never become a character become U+FFFD.
    fn take_characters(&mut self) -> String {
        let mut text = String::new();
        let mut used = 0;
        for chunk in self.bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            used += chunk.valid().len();
            let invalid = chunk.invalid();
            let at_end = used + invalid.len() == self.bytes.len();
            if at_end && may_continue(invalid) {
                break;
            }
            if !invalid.is_empty() {
                text.push('\u{FFFD}');
                used += invalid.len();
            }
        }
        self.bytes.drain(..used);
        text
    }

    /// The length of the longest suffix of `held` that a stop string starts with.
    fn possible_stop(&self) -> usize {
        let overlap = |stop: &String| {
            let boundaries = stop.char_indices().map(|(i, _)| i).rev();
            let mut ends = boundaries.filter(|i| self.held.ends_with(&stop[..*i]));
            ends.next().unwrap_or(0)
        };
        self.stops.iter().map(overlap).max().unwrap_or(0)
    }
}

/// Whether `bytes` are the start of a character.
fn may_continue(bytes: &[u8]) -> bool {
    matches!(std::str::from_utf8(bytes), Err(e) if e.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(stops: &[&str], tokens: &[&[u8]]) -> (Vec<String>, bool) {
        let stops: Vec<String> = stops.iter().map(|s| s.to_string()).collect();
        let mut stream = TextStream::new(&stops);
        let mut deltas = Vec::new();
        for token in tokens {
            let (text, stopped) = stream.push(token);
            deltas.push(text);
            if stopped {
                return (deltas, true);
            }
        }
        deltas.push(stream.finish());
        (deltas, false)
    }

    #[test]
    fn stop_strings_cross_token_borders() {
        let (deltas, stopped) = feed(&["\nUser:"], &[b"Hello\n", b"Us", b"er", b": no"]);
        assert_eq!(deltas, ["Hello", "", "", ""]);
        assert!(stopped);
        let (deltas, stopped) = feed(&["\nUser:"], &[b"Hello\n", b"Us", b"ing it"]);
        assert_eq!(deltas, ["Hello", "", "\nUsing it", ""]);
        assert!(!stopped);
        let (deltas, stopped) = feed(&["aab"], &[b"aa", b"a", b"b"]);
        assert_eq!(deltas, ["", "a", ""]);
        assert!(stopped);
        let (deltas, _) = feed(&["END"], &[b"the E", b"N"]);
        assert_eq!(deltas, ["the ", "", "EN"]);
    }

    #[test]
    fn characters_are_given_out_whole() {
        let (deltas, _) = feed(
            &[],
            &[b"caf\xc3", b"\xa9 \xf0\x9f", b"\x98\x80", b"\xff!", b"\xe2"],
        );
        assert_eq!(deltas, ["caf", "é ", "😀", "\u{FFFD}!", "", "\u{FFFD}"]);
    }

    proptest! {
        /// However the bytes are cut, the text is what a search in the whole text gives.
        #[test]
        fn cutting_changes_nothing(text in "[abé😀]{0,24}", stop in "[abé]{1,3}", cuts in prop::collection::vec(1usize..4, 1..40)) {
            let mut rest = text.as_bytes();
            let mut tokens = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break }
                let (token, tail) = rest.split_at((*cut).min(rest.len()));
                tokens.push(token);
                rest = tail;
            }
            let (deltas, stopped) = feed(&[&stop], &tokens);
            let want = text.split(&stop).next().unwrap();
            prop_assert_eq!(deltas.concat(), want);
            prop_assert_eq!(stopped, text.contains(&stop));
        }
    }
}
