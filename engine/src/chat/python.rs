//! Values as Python spells them: `str(value)` and `repr(value)`.

use super::values::{DictView, Range};
use minijinja::value::{Value, ValueKind};

/// `str(value)`; of an undefined value nothing. `kept` is a character that no spelling escapes.
pub(super) fn text(value: &Value, kept: Option<char>) -> String {
    // Bytes are a string for minijinja, and not for Python.
    match value.as_str().filter(|_| value.kind() == ValueKind::String) {
        Some(text) => text.to_owned(),
        None if value.is_undefined() => String::new(),
        None => {
            let mut out = String::new();
            represent(value, kept, &mut out);
            out
        }
    }
}

/// Writes `repr(value)`.
pub(super) fn represent(value: &Value, kept: Option<char>, out: &mut String) {
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::String => quote(value.as_str().unwrap_or_default(), kept, out),
        ValueKind::Number => match float_of(value) {
            Some(number) => out.push_str(&float(number)),
            None => out.push_str(&value.to_string()),
        },
        ValueKind::Seq | ValueKind::Iterable => match value.downcast_object_ref::<Range>() {
            Some(range) => out.push_str(&range.to_string()),
            None => match value.downcast_object_ref::<DictView>() {
                Some(view) => {
                    out.push_str(view.name);
                    out.push('(');
                    items(&view.items, ["[", "]"], kept, out);
                    out.push(')');
                }
                None => sequence(value, kept, out),
            },
        },
        ValueKind::Map => {
            out.push('{');
            for (i, key) in value.try_iter().into_iter().flatten().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                represent(&key, kept, out);
                out.push_str(": ");
                represent(&value.get_item(&key).unwrap_or_default(), kept, out);
            }
            out.push('}');
        }
        ValueKind::Bytes => out.push_str(&format!("{value:?}")),
        _ => out.push_str(&value.to_string()),
    }
}

fn sequence(value: &Value, kept: Option<char>, out: &mut String) {
    let list: Vec<Value> = value.try_iter().into_iter().flatten().collect();
    match value.is_tuple() {
        true if list.len() == 1 => items(&list, ["(", ",)"], kept, out),
        true => items(&list, ["(", ")"], kept, out),
        false => items(&list, ["[", "]"], kept, out),
    }
}

fn items(list: &[Value], brackets: [&str; 2], kept: Option<char>, out: &mut String) {
    out.push_str(brackets[0]);
    for (i, item) in list.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        represent(item, kept, out);
    }
    out.push_str(brackets[1]);
}

fn quote(text: &str, kept: Option<char>, out: &mut String) {
    let quote = match text.contains('\'') && !text.contains('"') {
        true => '"',
        false => '\'',
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if Some(c) == kept || printable(c) => out.push(c),
            c => match c as u32 {
                code @ ..0x100 => out.push_str(&format!("\\x{code:02x}")),
                code @ ..0x1_0000 => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push(quote);
}

/// `str.isprintable` of one character.
pub(super) fn printable(c: char) -> bool {
    // Rust escapes the same characters, but also combining ones at the start of a text, and no spaces.
    let within = ['a', c].iter().collect::<String>();
    (c == ' ' || !c.is_whitespace())
        && (matches!(c, '\'' | '"' | '\\') || within.escape_debug().skip(1).eq([c]))
}

/// A value's float; `None` for all else, integers too.
pub(super) fn float_of(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Number if !value.is_integer() => f64::try_from(value.clone()).ok(),
        _ => None,
    }
}

/// `repr(float)`: the shortest digits that read back as the same number.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    let sign = if number.is_sign_negative() { "-" } else { "" };
    if number.is_infinite() {
        return format!("{sign}inf");
    }
    let shortest = format!("{:e}", number.abs());
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = number.abs().to_string();
        let point = if plain.contains('.') { "" } else { ".0" };
        format!("{sign}{plain}{point}")
    } else {
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        format!(
            "{sign}{digits}e{exponent_sign}{:02}",
            exponent.unsigned_abs()
        )
    }
}

/// `str.isspace` of one character: Unicode's white space and four separators of ASCII.
pub(super) fn space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}
