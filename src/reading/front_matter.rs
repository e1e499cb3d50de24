//! Front matter: YAML between `---` lines, or TOML between `+++` lines, at the very start of a Markdown file. It is
//! metadata and no text.

use super::Unreadable;
use serde_json::{Map, Value};

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
        budget: serde_saphyr::budget! { max_nodes: 10_000 },
    };
    match serde_saphyr::from_str_with_options::<Value>(matter, options) {
        Ok(Value::Object(fields)) => Ok(Some(fields)),
        Ok(Value::Null) => Ok(Some(Map::new())),
        Ok(_) => Ok(None),
        Err(error) => {
            let line = error.location().map_or(1, |place| place.line() as usize);
            Err(wrong(line, &error.without_snippet().to_string()))
        }
    }
}

fn toml(matter: &str) -> Result<Option<Map<String, Value>>, Unreadable> {
    match toml::from_str::<toml::Table>(matter) {
        Ok(table) => Ok(Some(table.into_iter().map(|(k, v)| (k, json(v))).collect())),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let line = matter.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
            Err(wrong(line, error.message()))
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
