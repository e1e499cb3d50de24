//! Front matter: YAML between `---` lines, or TOML between `+++` lines, at the very start of a Markdown file. It is
//! metadata and no text.

use super::Unreadable;
use serde_json::{Map, Value};

/// Most values of front matter in YAML, those of aliases counted each time.
const MOST_VALUES: usize = 10_000;

/// The front matter, and the text behind it. A `---` that no second one closes is a thematic break, and so are two
/// that enclose anything but keys with values. Fails with the line where the enclosed keys are not YAML or TOML.
pub(super) fn split(text: &str) -> Result<(Map<String, Value>, &str), Unreadable> {
    let none = Ok((Map::new(), text));
    let first = text.lines().next().unwrap_or_default().trim_end();
    let ends: &[&str] = match first {
        "---" => &["---", "..."],
        "+++" => &["+++"],
        _ => return none,
    };
    let Some((matter, rest)) = enclosed(text, ends) else {
        return none;
    };
    let read = match first {
        "---" => yaml(matter),
        _ => toml(matter),
    };
    match read {
        Ok(Some(fields)) => Ok((fields, rest)),
        Ok(None) => none,
        Err(_) if first == "---" && !begins_with_key(matter) => none,
        Err(error) => Err(error),
    }
}

/// The lines between the first line and the next that is one of `ends`, and what follows, without blank lines before
/// it.
fn enclosed<'a>(text: &'a str, ends: &[&str]) -> Option<(&'a str, &'a str)> {
    let start = text.find('\n')? + 1;
    let mut at = start;
    for line in text[start..].split_inclusive('\n') {
        let next = at + line.len();
        if ends.contains(&line.trim_end()) {
            let rest = &text[next..];
            let blank = rest.len() - rest.trim_start().len();
            let kept = rest[..blank].rfind('\n').map_or(0, |end| end + 1);
            return Some((&text[start..at], &rest[kept..]));
        }
        at = next;
    }
    None
}

/// The keys of YAML; `None` if it is something else than keys with values.
fn yaml(matter: &str) -> Result<Option<Map<String, Value>>, Unreadable> {
    // As YAML 1.2 has it: `no` is a word, and `0755` is not 755.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
        // Front matter is a page at most; a few aliases of aliases would stand for millions of values.
        budget: serde_saphyr::budget! { max_nodes: MOST_VALUES },
    };
    match serde_saphyr::from_str_with_options::<Value>(matter, options) {
        Ok(Value::Object(fields)) => Ok(Some(fields)),
        Ok(Value::Null) => Ok(Some(Map::new())),
        Ok(_) => Ok(None),
        Err(error) => {
            let line = error.location().map_or(1, |place| place.line() as usize);
            let reason = yaml_reason(error.without_snippet());
            // The parser names the line where a value begins that a tab ends.
            let tabbed = |line: &str| line.trim_start_matches(' ').starts_with('\t');
            let after = match reason == TAB {
                true => matter.lines().skip(line.saturating_sub(1)).position(tabbed),
                false => None,
            };
            Err(wrong(line + after.unwrap_or(0), &reason))
        }
    }
}

const ANCHOR: &str = "an alias (`*name`) has no anchor (`&name`) before it; put the value in quotes to have it as text";
const TAB: &str = "a tab stands where YAML has spaces; indent by spaces";
const OTHERWISE: &str = "it does not follow the rules of YAML; write `key: value`, a key on each line, with words or numbers as keys";

/// What the parser's sentences mean: parts of them, what is wrong, and what would be right. The first that fits counts.
const SYNTAX: [(&[&str], &str); 7] = [
    (
        &["mapping values", "illegal placement", "':' m"],
        "a value has a colon of its own, or a key stands further right than the one before; put such a value in quotes, \
         and keys at the same column",
    ),
    (&["anchor"], ANCHOR),
    (
        &["quote", "surrogate", "character escape"],
        "a text in quotes does not end, or has a backslash before a letter that means nothing; close the quotes, and write \
         a backslash twice",
    ),
    (
        &["bracket", "flow"],
        "a bracket is not closed, or by another; a list is `[a, b]`, and text with brackets is in quotes",
    ),
    (&["tab"], TAB),
    (
        &["indent", "block", "simple key", "expected key"],
        "a line is no `key: value`, or begins at another column than the keys before; write a key on each line, all at \
         the same column",
    ),
    (
        &["character", "comment", "directive", "tag", "scalar"],
        "a value begins with a mark that YAML keeps for itself; put the value in quotes",
    ),
];

/// What is wrong with YAML, and what would be right.
fn yaml_reason(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error {
        Error::DuplicateMappingKey { key, .. } => match key {
            Some(key) => format!("the key `{key}` stands there twice; keep one"),
            None => "a key stands there twice; keep one".into(),
        },
        Error::ExternalMessage { msg, .. } => {
            let known = SYNTAX
                .iter()
                .find(|(parts, _)| parts.iter().any(|part| msg.contains(part)));
            known.map_or(OTHERWISE, |(_, reason)| reason).into()
        }
        Error::Eof { .. } => {
            "it ends in the middle of a value; close its quotes or brackets".into()
        }
        Error::NonFiniteFloat { value, .. } => {
            format!("the number `{value}` is not finite; put it in quotes to have it as text")
        }
        Error::UnknownAnchor { .. } => ANCHOR.into(),
        Error::UnsupportedTag { tag, .. } => {
            format!("the tag `{tag}` is not read; leave it out, or put the value in quotes")
        }
        Error::InvalidBinaryBase64 { .. }
        | Error::BinaryNotUtf8 { .. }
        | Error::TaggedScalarCannotDeserializeIntoString { .. }
        | Error::InvalidScalar { .. }
        | Error::HookError { .. } => {
            "a tag (`!!name`) does not fit its value; leave the tag out, or put the value in quotes"
                .into()
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } | Error::MergeKeyNotAllowed { .. } => {
            "`<<` takes over keys of another value, and there are none; name the keys themselves"
                .into()
        }
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => format!(
            "it stands for more values than are read ({MOST_VALUES}), or for values within each other too deeply; keep \
             title and a few keys, without aliases"
        ),
        Error::FoldedBlockScalarMustIndentContent { .. } | Error::IndentationError { .. } => {
            "its indentation is wrong; the lines of a value stand further right than its key".into()
        }
        Error::AliasError { error, .. } => yaml_reason(error),
        _ => OTHERWISE.into(),
    }
}

fn toml(matter: &str) -> Result<Option<Map<String, Value>>, Unreadable> {
    match toml::from_str::<toml::Table>(matter) {
        Ok(table) => Ok(Some(table.into_iter().map(|(k, v)| (k, json(v))).collect())),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let line = matter.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
            let reason = error.message().lines().collect::<Vec<_>>().join(", ");
            let right = "TOML has `key = value` there, and text in double quotes";
            Err(wrong(line, &format!("{reason}; {right}")))
        }
    }
}

/// `line`: counted from 1 within the front matter, whose first line is the second of the file.
fn wrong(line: usize, reason: &str) -> Unreadable {
    let reason = reason.lines().next().unwrap_or_default().trim();
    Unreadable::FrontMatter {
        line: line + 1,
        reason: reason.trim_end_matches('.').to_owned(),
    }
}

/// A TOML value as JSON. Dates become text.
fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(is) => is.into(),
        toml::Value::Datetime(date) => Value::String(date.to_string()),
        toml::Value::Array(items) => items.into_iter().map(json).collect(),
        toml::Value::Table(table) => {
            let fields = table.into_iter().map(|(k, v)| (k, json(v)));
            Value::Object(fields.collect())
        }
    }
}

/// Whether the first line that is no comment begins with a key, as front matter does.
fn begins_with_key(matter: &str) -> bool {
    let line = matter.lines().next().unwrap_or_default();
    let first = match line.trim_start().starts_with('#') {
        true => matter
            .lines()
            .find(|line| !line.trim_start().starts_with('#')),
        false => Some(line),
    };
    first.is_some_and(|line| {
        let key = line.split_once(':');
        let is_key = |(key, rest): (&str, &str)| {
            !key.is_empty() && (rest.is_empty() || rest.starts_with([' ', '\t']))
        };
        line.starts_with('{') || key.is_some_and(is_key)
    })
}
