//! Filters, tests and functions of Jinja2 that minijinja lacks or computes otherwise.

use super::arguments::Arguments;
use super::environment::kept;
use super::formatting::printf;
use super::python::{self, space};
use super::strings;
use super::values::{Cycler, Joiner, Range};
use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State};
use std::sync::atomic::AtomicUsize;

pub(super) fn add(env: &mut Environment<'static>) {
    env.add_filter("string", string);
    env.add_filter(super::source::STR, string);
    env.add_filter("join", join);
    env.add_filter("int", int);
    env.add_filter("float", float);
    env.add_filter("default", default);
    env.add_filter("d", default);
    env.add_filter("trim", trim);
    env.add_filter("indent", indent);
    env.add_filter(
        "center",
        |state: &mut State, text: String, width: Option<i64>| {
            let width = Value::from(width.unwrap_or(80));
            strings::call(state, &text, "center", &[width])
        },
    );
    env.add_filter("format", |state: &State, args: Rest<ValueOrKwargs>| {
        let args = args.into_values();
        let text = args
            .first()
            .and_then(|text| text.as_str().map(str::to_owned));
        let values = args.get(1..).unwrap_or_default();
        printf(&text.unwrap_or_default(), values, kept(state))
    });
    for name in ["e", "escape", "forceescape"] {
        env.add_filter(name, move |state: &State, value: Value| {
            match value.is_safe() && name != "forceescape" {
                true => value,
                false => Value::from_safe_string(html(&python::text(&value, kept(state)))),
            }
        });
    }
    env.add_filter("urlencode", urlencode);
    env.add_filter("wordcount", |text: String| {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        text.split(|c| !word(c)).filter(|w| !w.is_empty()).count()
    });
    env.add_filter("striptags", |text: String| {
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some((before, tag)) = rest.split_once('<') {
            plain.push_str(before);
            match tag.split_once('>') {
                Some((_, after)) => rest = after,
                None => break,
            }
        }
        plain.push_str(rest);
        plain.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    env.add_filter("truncate", truncate);
    env.add_test("sequence", has_items);
    env.add_test("iterable", has_items);
    env.add_test("callable", |value: &Value| {
        value.kind() == ValueKind::Plain && value.as_object().is_some()
    });
    env.add_function("range", Range::call);
    env.add_function("dict", dict);
    let builtin = env.globals().find(|(name, _)| *name == "namespace");
    if let Some((_, builtin)) = builtin {
        env.add_function("namespace", move |state: &mut State, args: Rest<ValueOrKwargs>| {
            let attributes = dict(args)?;
            if let Some(name) = attributes.try_iter()?.find(|n| n.to_string().starts_with('_')) {
                let reason = format!(
                    "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '{name}'."
                );
                return Err(Error::new(ErrorKind::InvalidOperation, reason));
            }
            builtin.call(state, &[attributes])
        });
    }
    env.add_function("joiner", |separator: Option<String>| {
        Value::from_object(Joiner {
            separator: separator.unwrap_or_else(|| ", ".into()),
            calls: AtomicUsize::new(0),
        })
    });
    env.add_function("cycler", |items: Rest<Value>| {
        Value::from_object(Cycler {
            items: items.to_vec(),
            at: AtomicUsize::new(0),
        })
    });
    env.add_function(super::source::MOD, modulo);
    env.remove_global("debug");
}

/// Whether Python could go over the value: `none` it could not.
fn has_items(value: &Value) -> bool {
    let kinds = [
        ValueKind::Seq,
        ValueKind::Iterable,
        ValueKind::String,
        ValueKind::Map,
        ValueKind::Undefined,
    ];
    kinds.contains(&value.kind())
}

/// `dict(mapping or pairs, **more)`.
fn dict(args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::of(args);
    let mut pairs = Vec::new();
    if let Some(given) = args.get(0, "") {
        for item in given.try_iter()? {
            pairs.push(match given.kind() {
                ValueKind::Map => (item.clone(), given.get_item(&item)?),
                _ => (item.get_item_by_index(0)?, item.get_item_by_index(1)?),
            });
        }
    }
    let named = args.named().into_iter();
    pairs.extend(named.map(|(name, value)| (Value::from(name), value)));
    Ok(Value::from_pairs(pairs))
}

/// Escapes as MarkupSafe does.
pub(super) fn html(text: &str) -> String {
    let pairs = [
        ("&", "&amp;"),
        ("<", "&lt;"),
        (">", "&gt;"),
        ("\"", "&#34;"),
        ("'", "&#39;"),
    ];
    pairs
        .iter()
        .fold(text.to_owned(), |text, (plain, escaped)| {
            text.replace(plain, escaped)
        })
}

/// A text as a part of a URL, or a mapping as its query.
fn urlencode(state: &State, value: Value) -> Result<String, Error> {
    let quoted = |value: &Value, query: bool| {
        let mut out = String::new();
        for byte in python::text(value, kept(state)).bytes() {
            match byte {
                b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
                b'/' if !query => out.push('/'),
                b' ' if query => out.push('+'),
                letter if letter.is_ascii_alphanumeric() => out.push(letter.into()),
                other => out.push_str(&format!("%{other:02X}")),
            }
        }
        out
    };
    if value.kind() != ValueKind::Map {
        return Ok(quoted(&value, false));
    }
    let pair = |key: Value| {
        let value = value.get_item(&key)?;
        Ok(format!("{}={}", quoted(&key, true), quoted(&value, true)))
    };
    let pairs: Result<Vec<String>, Error> = value.try_iter()?.map(pair).collect();
    Ok(pairs?.join("&"))
}

fn string(state: &State, value: Value) -> Value {
    match value.kind() {
        ValueKind::String => value,
        _ => Value::from(python::text(&value, kept(state))),
    }
}

fn join(state: &State, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::of(args);
    let between = args.text(1, "d")?.unwrap_or_default();
    let attribute = args.get(2, "attribute");
    let items = args.get(0, "value").unwrap_or_default();
    let mut texts = Vec::new();
    for item in items.try_iter()? {
        let item = match &attribute {
            Some(path) => attribute_of(&item, path)?,
            None => item,
        };
        texts.push(python::text(&item, kept(state)));
    }
    Ok(Value::from(texts.join(&between)))
}

/// The value at a dotted path.
fn attribute_of(item: &Value, path: &Value) -> Result<Value, Error> {
    let Some(path) = path.as_str() else {
        return item.get_item(path);
    };
    let mut found = item.clone();
    for part in path.split('.') {
        found = match part.parse::<usize>() {
            Ok(index) => found.get_item_by_index(index)?,
            Err(_) => found.get_attr(part)?,
        };
    }
    Ok(found)
}

/// `int(value)`, and the default where that fails.
fn int(args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::of(args);
    let default = args.get(1, "default").unwrap_or_else(|| Value::from(0));
    let base = args.number(2, "base")?.unwrap_or(10);
    let Some(value) = args.get(0, "value") else {
        return Ok(default);
    };
    let whole = |number: f64| match number.is_finite() {
        true => Value::from(number as i128),
        false => default.clone(),
    };
    Ok(match value.kind() {
        ValueKind::Bool => Value::from(i64::from(value.is_true())),
        ValueKind::Number => python::float_of(&value).map_or(value, whole),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            match (parse_int(text, base), parse_float(text)) {
                (Some(number), _) => Value::from(number),
                (None, Some(number)) => whole(number),
                (None, None) => default,
            }
        }
        _ => default,
    })
}

fn float(args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::of(args);
    let default = args.get(1, "default").unwrap_or_else(|| Value::from(0.0));
    let Some(value) = args.get(0, "value") else {
        return Ok(default);
    };
    Ok(match value.kind() {
        ValueKind::Bool => Value::from(if value.is_true() { 1.0 } else { 0.0 }),
        ValueKind::Number => Value::from(f64::try_from(value)?),
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            parse_float(text).map_or(default, Value::from)
        }
        _ => default,
    })
}

/// `int(text, base)`: white space around, a sign, a prefix of the base, single underscores between digits.
fn parse_int(text: &str, base: i64) -> Option<i128> {
    let text = text.trim_matches(space);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_lowercase();
    let prefix = [(16, "0x"), (8, "0o"), (2, "0b")]
        .into_iter()
        .find(|(of, prefix)| (base == *of || base == 0) && lower.starts_with(prefix));
    let (base, digits) = match prefix {
        Some((of, prefix)) => {
            let rest = &lower[prefix.len()..];
            (of, rest.strip_prefix('_').unwrap_or(rest))
        }
        None => (if base == 0 { 10 } else { base }, lower.as_str()),
    };
    let digits = ascii_digits(digits)?;
    // Rust panics at other bases.
    let base = u32::try_from(base).ok().filter(|b| (2..=36).contains(b))?;
    let number = i128::from_str_radix(&digits, base).ok()?;
    Some(if negative { -number } else { number })
}

fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(space);
    let digits = ascii_digits(text)?;
    // Rust reads these, too, but Python wants at least a digit or a name.
    if digits.ends_with(['e', 'E', '+', '-']) {
        return None;
    }
    digits.parse().ok()
}

/// Digits of all scripts as ASCII, without single underscores between digits. `None`: misplaced underscores, or nothing.
fn ascii_digits(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut underscore = true;
    for c in text.chars() {
        if c == '_' {
            if underscore {
                return None;
            }
            underscore = true;
            continue;
        }
        let digit = strings::decimal_value(c).and_then(|n| char::from_digit(n, 10));
        out.push(digit.unwrap_or(c));
        underscore = false;
    }
    (!underscore && (!out.starts_with(['-', '+']) || out.len() > 1)).then_some(out)
}

fn default(args: Rest<ValueOrKwargs>) -> Value {
    let args = Arguments::of(args);
    let value = args.given(0, "value").unwrap_or_default();
    let lax = args.get(2, "boolean").is_some_and(|lax| lax.is_true());
    match value.is_undefined() || (lax && !value.is_true()) {
        true => args
            .given(1, "default_value")
            .unwrap_or_else(|| Value::from("")),
        false => value,
    }
}

fn trim(state: &State, value: Value, chars: Option<String>) -> String {
    let text = python::text(&value, kept(state));
    match chars {
        Some(chars) => text.trim_matches(|c| chars.contains(c)).to_owned(),
        None => text.trim_matches(space).to_owned(),
    }
}

/// Indents all lines but the first, and no blank ones. The width is a number of spaces or a text.
fn indent(args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::of(args);
    let text = args.text(0, "s")?.unwrap_or_default();
    let flag = |place, name| args.get(place, name).is_some_and(|flag| flag.is_true());
    let indention = match args.get(1, "width") {
        Some(width) => match width.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(width.as_i64().unwrap_or(0).clamp(0, 1 << 16) as usize),
        },
        None => " ".repeat(4),
    };
    let blank = flag(3, "blank");
    let with_end = text + "\n";
    let lines = super::methods::split_lines(&with_end, false);
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let inside = match i {
            0 => flag(2, "first"),
            _ => blank || !line.is_empty(),
        };
        if inside {
            out.push_str(&indention);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

/// Cuts a text that is longer than `length` and 5 more, at a word's end unless `killwords`.
fn truncate(args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::of(args);
    let text = args.text(0, "s")?.unwrap_or_default();
    let number = |place, name, other| -> Result<usize, Error> {
        let given = args.number(place, name)?.unwrap_or(other);
        Ok(usize::try_from(given).unwrap_or(0))
    };
    let (length, leeway) = (number(1, "length", 255)?, number(4, "leeway", 5)?);
    let kill = args.get(2, "killwords").is_some_and(|kill| kill.is_true());
    let end = args.text(3, "end")?.unwrap_or_else(|| "...".into());
    if text.chars().count() <= length + leeway {
        return Ok(Value::from(text));
    }
    let kept: String = text
        .chars()
        .take(length.saturating_sub(end.chars().count()))
        .collect();
    let kept = match kept.rsplit_once(' ') {
        Some((words, _)) if !kill => words,
        _ => &kept,
    };
    Ok(Value::from(format!("{kept}{end}")))
}

/// `a % b`: formats if a is a string, else the remainder with the sign of b.
fn modulo(state: &State, a: Value, b: Value) -> Result<Value, Error> {
    if let Some(text) = a.as_str() {
        let args: Vec<Value> = match b.is_tuple() {
            true => b.try_iter()?.collect(),
            false => vec![b],
        };
        return printf(text, &args, kept(state)).map(Value::from);
    }
    let zero = || Error::new(ErrorKind::InvalidOperation, "modulo by zero");
    let number = |value: &Value| match value.kind() {
        ValueKind::Bool => Ok(Value::from(i64::from(value.is_true()))),
        ValueKind::Number => Ok(value.clone()),
        other => {
            let reason = format!("unsupported operand type for %: {other}");
            Err(Error::new(ErrorKind::InvalidOperation, reason))
        }
    };
    let (a, b) = (number(&a)?, number(&b)?);
    if let (Ok(a), Ok(b), true) = (
        i128::try_from(a.clone()),
        i128::try_from(b.clone()),
        a.is_integer() && b.is_integer(),
    ) {
        let remainder = a.checked_rem(b).ok_or_else(zero)?;
        let other_sign = remainder != 0 && (remainder < 0) != (b < 0);
        return Ok(Value::from(if other_sign {
            remainder + b
        } else {
            remainder
        }));
    }
    let (a, b) = (f64::try_from(a)?, f64::try_from(b)?);
    if b == 0.0 {
        return Err(zero());
    }
    let remainder = a % b;
    let other_sign = remainder != 0.0 && (remainder < 0.0) != (b < 0.0);
    Ok(Value::from(if other_sign {
        remainder + b
    } else {
        remainder
    }))
}
