//! Alias names, parsed once at the edge.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A name that matches `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AliasName(String);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a name: 1 to 64 characters of a-z, 0-9, `.`, `_`, `-`, the first a letter or digit"
)]
pub struct InvalidName(String);

impl AliasName {
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let rest = |b: u8| plain(b) || matches!(b, b'.' | b'_' | b'-');
        let fits =
            text.len() <= 64 && text.bytes().next().is_some_and(plain) && text.bytes().all(rest);
        if fits {
            Ok(AliasName(text.into()))
        } else {
            // The text may be long, so the message shows only its beginning.
            Err(InvalidName(text.chars().take(80).collect()))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AliasName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        AliasName::parse(text)
    }
}

impl TryFrom<String> for AliasName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        AliasName::parse(&text)
    }
}

impl From<AliasName> for String {
    fn from(name: AliasName) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_inside_and_outside_of_the_pattern() {
        let longest = "a".repeat(64);
        for good in ["a", "7", "support-kb", "qwen2.5_x", &longest] {
            assert_eq!(AliasName::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(65);
        for bad in [
            "", "-a", ".a", "A", "a b", "a@1", "ä", "a/b", "a\n", &too_long,
        ] {
            assert!(AliasName::parse(bad).is_err(), "{bad:?}");
        }
    }
}
