//! The methods of Python's strings, lists and dictionaries that a template may call. Those that change a list or a
//! dictionary are refused, as transformers' sandbox refuses them.

use super::arguments::Arguments;
use super::python::{self, space};
use super::strings;
use super::values::DictView;
use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            strings::call(state, text, method, args)
        }
        ValueKind::Map => dictionary(value, method, &Arguments::new(args)),
        ValueKind::Seq | ValueKind::Iterable => list(value, method, &Arguments::new(args)),
        ValueKind::Number => number(value, method),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn dictionary(value: &Value, method: &str, args: &Arguments) -> Result<Value, Error> {
    let pair = |key: &Value| {
        let item = value.get_item(key).unwrap_or_default();
        Value::from(Tuple::from([key.clone(), item]))
    };
    let keys = || -> Result<Vec<Value>, Error> { Ok(value.try_iter()?.collect()) };
    let view = |name, items| Ok(Value::from_object(DictView { name, items }));
    match method {
        "items" => view("dict_items", keys()?.iter().map(pair).collect()),
        "keys" => view("dict_keys", keys()?),
        "values" => {
            let item = |key: &Value| value.get_item(key).unwrap_or_default();
            view("dict_values", keys()?.iter().map(item).collect())
        }
        "get" => {
            let key = args.get(0, "key").unwrap_or_else(|| Value::from(()));
            let found = value.get_item(&key).unwrap_or_default();
            match found.is_undefined() {
                true => Ok(args.get(1, "default").unwrap_or_else(|| Value::from(()))),
                false => Ok(found),
            }
        }
        "copy" => Ok(value.clone()),
        "clear" | "pop" | "popitem" | "setdefault" | "update" => Err(unsafe_access(method, "dict")),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn list(value: &Value, method: &str, args: &Arguments) -> Result<Value, Error> {
    let wanted = || args.get(0, "value").unwrap_or_else(|| Value::from(()));
    match method {
        "count" => {
            let wanted = wanted();
            let same = value.try_iter()?.filter(|item| *item == wanted);
            Ok(Value::from(same.count()))
        }
        "index" => {
            let wanted = wanted();
            let place = value.try_iter()?.position(|item| item == wanted);
            place.map(Value::from).ok_or_else(|| {
                let reason = format!("{} is not in list", python::text(&wanted, None));
                Error::new(ErrorKind::InvalidOperation, reason)
            })
        }
        "copy" => Ok(value.clone()),
        "append" | "clear" | "extend" | "insert" | "pop" | "remove" | "reverse" | "sort" => {
            Err(unsafe_access(method, "list"))
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn number(value: &Value, method: &str) -> Result<Value, Error> {
    match (method, python::float_of(value)) {
        ("is_integer", Some(number)) => Ok(Value::from(number.fract() == 0.0)),
        ("is_integer", None) => Ok(Value::from(true)),
        ("bit_length", None) => {
            let number = i128::try_from(value.clone())?;
            Ok(Value::from(128 - number.unsigned_abs().leading_zeros()))
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn unsafe_access(method: &str, kind: &str) -> Error {
    let reason = format!("access to attribute '{method}' of '{kind}' object is unsafe.");
    Error::new(ErrorKind::InvalidOperation, reason)
}

/// `str.split()` without a separator: at runs of white space, at most `most` times.
pub(super) fn split_space(text: &str, most: Option<usize>) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start_matches(space);
    while !rest.is_empty() {
        if most.is_some_and(|most| parts.len() == most) {
            parts.push(rest);
            break;
        }
        let end = rest.find(space).unwrap_or(rest.len());
        parts.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(space);
    }
    parts
}

/// `str.rsplit()` without a separator.
pub(super) fn rsplit_space(text: &str, most: Option<usize>) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text.trim_end_matches(space);
    while !rest.is_empty() {
        if most.is_some_and(|most| parts.len() == most) {
            parts.push(rest);
            break;
        }
        let last = rest.char_indices().rev().find(|(_, c)| space(*c));
        let start = last.map_or(0, |(i, c)| i + c.len_utf8());
        parts.push(&rest[start..]);
        rest = rest[..start].trim_end_matches(space);
    }
    parts.reverse();
    parts
}

/// `str.splitlines(keepends)`.
pub(super) fn split_lines(text: &str, keep_ends: bool) -> Vec<&str> {
    const ENDS: [char; 10] = [
        '\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}',
    ];
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, end) = match rest.find(ENDS) {
            None => (rest.len(), rest.len()),
            Some(at) if rest[at..].starts_with("\r\n") => (at, at + 2),
            Some(at) => (at, at + rest[at..].chars().next().map_or(1, char::len_utf8)),
        };
        lines.push(&rest[..if keep_ends { end } else { line }]);
        rest = &rest[end..];
    }
    lines
}
