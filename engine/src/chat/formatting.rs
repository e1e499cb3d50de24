//! `text % values` and `text.format(…)`: Python's fields, of which minijinja formats the numbers.

use super::arguments::Arguments;
use super::python;
use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

fn wrong<T>(reason: impl Into<String>) -> Result<T, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, reason.into()))
}

/// `text % values`. `kept` is a character that no spelling escapes.
pub(super) fn printf(text: &str, values: &[Value], kept: Option<char>) -> Result<String, Error> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = text;
    let mut named = None;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut name = None;
        if let Some(inside) = rest.strip_prefix('(') {
            let Some((key, after)) = inside.split_once(')') else {
                return wrong("incomplete format key");
            };
            (name, rest) = (Some(key), after);
        }
        let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '%') else {
            return wrong("incomplete format");
        };
        let (flags, kind) = (&rest[..end], &rest[end..=end]);
        rest = &rest[end + 1..];
        if kind == "%" {
            out.push('%');
            continue;
        }
        let value = match name {
            Some(key) => {
                let map = named.get_or_insert_with(|| values.next().cloned().unwrap_or_default());
                map.get_item(&Value::from(key))?
            }
            None => match values.next() {
                Some(value) => value.clone(),
                None => return wrong("not enough arguments for format string"),
            },
        };
        let (value, kind) = match kind {
            "s" => (Value::from(python::text(&value, kept)), "s"),
            "r" | "a" => (Value::from(represented(&value, kept)), "s"),
            "i" | "u" => (value, "d"),
            other => (value, other),
        };
        let spec = format!("%{flags}{kind}");
        out.push_str(&format(FormatStyle::Printf, &spec, &[value])?);
    }
    if named.is_none()
        && values
            .next()
            .is_some_and(|left| left.kind() != ValueKind::Map)
    {
        return wrong("not all arguments converted during string formatting");
    }
    out.push_str(rest);
    Ok(out)
}

fn represented(value: &Value, kept: Option<char>) -> String {
    let mut out = String::new();
    python::represent(value, kept, &mut out);
    out
}

/// `text.format(…)`.
pub(super) fn braces(text: &str, args: &Arguments, kept: Option<char>) -> Result<String, Error> {
    let mut next = 0;
    fill(text, args, kept, &mut next, FIELD_DEPTH)
}

/// How deep fields may stand in the specifications of others, as in Python.
const FIELD_DEPTH: usize = 2;

fn fill(
    text: &str,
    args: &Arguments,
    kept: Option<char>,
    next: &mut usize,
    depth: usize,
) -> Result<String, Error> {
    if depth == 0 && text.contains(['{', '}']) {
        return wrong("Max string recursion exceeded");
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
            continue;
        }
        let Some(end) = closing(rest).filter(|_| brace == "{") else {
            return wrong("Single brace encountered in format string");
        };
        let (field, spec) = rest[..end].split_once(':').unwrap_or((&rest[..end], ""));
        rest = &rest[end + 1..];
        let (field, conversion) = field.split_once('!').unwrap_or((field, ""));
        let value = resolve(field, args, next)?;
        let value = match conversion {
            "r" | "a" => Value::from(represented(&value, kept)),
            "s" => Value::from(python::text(&value, kept)),
            _ => value,
        };
        let spec = fill(spec, args, kept, next, depth.saturating_sub(1))?;
        out.push_str(&match (spec.as_str(), spec.strip_suffix('%')) {
            ("", _) => python::text(&value, kept),
            (_, Some(spec)) => {
                let percent = Value::from(f64::try_from(value)? * 100.0);
                let spec = format!("{{:{spec}f}}");
                format!("{}%", format(FormatStyle::StrFormat, &spec, &[percent])?)
            }
            (spec, None) => format(FormatStyle::StrFormat, &format!("{{:{spec}}}"), &[value])?,
        });
    }
    out.push_str(rest);
    Ok(out)
}

/// The place of the brace that closes a field.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(i),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The value of `0`, `name.attribute[key]` or, if empty, the next one.
fn resolve(field: &str, args: &Arguments, next: &mut usize) -> Result<Value, Error> {
    let end = field.find(['.', '[']).unwrap_or(field.len());
    let (name, mut path) = field.split_at(end);
    let place = match name.parse() {
        Ok(place) => place,
        Err(_) if name.is_empty() => {
            *next += 1;
            *next - 1
        }
        Err(_) => usize::MAX,
    };
    let Some(mut value) = args.given(place, name) else {
        return wrong(format!("there is no argument {field:?} to format"));
    };
    while !path.is_empty() {
        if let Some(inside) = path.strip_prefix('[') {
            let Some((key, after)) = inside.split_once(']') else {
                return wrong("expected ']' before end of string");
            };
            let key = key.parse::<usize>().map_or(Value::from(key), Value::from);
            (value, path) = (value.get_item(&key)?, after);
        } else {
            let name = path.trim_start_matches('.');
            let end = name.find(['.', '[']).unwrap_or(name.len());
            (value, path) = (value.get_attr(&name[..end])?, &name[end..]);
        }
    }
    Ok(value)
}
