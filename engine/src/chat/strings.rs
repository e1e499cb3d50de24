//! The methods of Python's `str`.

use super::arguments::Arguments;
use super::environment::kept;
use super::formatting::braces;
use super::methods::{rsplit_space, split_lines, split_space};
use super::python::{self, printable, space};
use minijinja::value::{Kwargs, Tuple, Value};
use minijinja::{Error, ErrorKind, State};

pub(super) fn call(
    state: &mut State,
    text: &str,
    method: &str,
    given: &[Value],
) -> Result<Value, Error> {
    let args = Arguments::new(given);
    Ok(match method {
        "upper" => text.to_uppercase().into(),
        "lower" => text.to_lowercase().into(),
        "casefold" => text.to_lowercase().replace('ß', "ss").into(),
        "swapcase" => swapped(text).into(),
        "capitalize" => state.apply_filter("capitalize", &[text.into()])?,
        "title" => title(state, text)?.into(),
        "strip" | "lstrip" | "rstrip" => {
            let chars = args.text(0, "chars")?;
            let inside = |c: char| match &chars {
                Some(chars) => chars.contains(c),
                None => space(c),
            };
            match method {
                "strip" => text.trim_matches(inside),
                "lstrip" => text.trim_start_matches(inside),
                _ => text.trim_end_matches(inside),
            }
            .into()
        }
        "split" | "rsplit" => split(text, method == "rsplit", &args)?,
        "splitlines" => {
            let keep = args.get(0, "keepends").is_some_and(|keep| keep.is_true());
            listed(split_lines(text, keep))
        }
        "partition" | "rpartition" => {
            let between = args.need_text(0, "sep")?;
            let parts = match method {
                "partition" => text.split_once(&between),
                _ => text.rsplit_once(&between),
            };
            let parts = match (parts, method) {
                (Some((before, after)), _) => [before, &between, after],
                (None, "partition") => [text, "", ""],
                (None, _) => ["", "", text],
            };
            Value::from(Tuple::from(parts.map(Value::from)))
        }
        "removeprefix" => {
            let prefix = args.need_text(0, "prefix")?;
            text.strip_prefix(&prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let suffix = args.need_text(0, "suffix")?;
            text.strip_suffix(&suffix).unwrap_or(text).into()
        }
        "ljust" | "rjust" | "center" => {
            let width = args.number(0, "width")?.unwrap_or(0);
            let fill = args.text(1, "fillchar")?.unwrap_or_else(|| " ".into());
            justified(text, width, &fill, method)?.into()
        }
        "zfill" => {
            let width = args.number(0, "width")?.unwrap_or(0);
            let signed = usize::from(text.starts_with(['-', '+']));
            let zeros = justified(&text[signed..], width - signed as i64, "0", "rjust")?;
            format!("{}{zeros}", &text[..signed]).into()
        }
        "replace" => {
            let (old, new) = (args.need_text(0, "old")?, args.need_text(1, "new")?);
            match usize::try_from(args.number(2, "count")?.unwrap_or(-1)) {
                Ok(count) => text.replacen(&old, &new, count).into(),
                Err(_) => text.replace(&old, &new).into(),
            }
        }
        "startswith" | "endswith" => {
            let (within, _) = within(text, &args)?;
            let wanted = args.get(0, "prefix").unwrap_or_default();
            let fits = |wanted: &Value| match (wanted.as_str(), method) {
                (Some(wanted), "startswith") => Ok(within.starts_with(wanted)),
                (Some(wanted), _) => Ok(within.ends_with(wanted)),
                (None, _) => {
                    let found = wanted.kind();
                    let reason =
                        format!("{method} needs a string or a tuple of strings, not {found}");
                    Err(Error::new(ErrorKind::InvalidOperation, reason))
                }
            };
            match wanted.is_tuple() {
                true => {
                    let list: Vec<Value> = wanted.try_iter()?.collect();
                    let fits: Result<Vec<bool>, Error> = list.iter().map(fits).collect();
                    fits?.contains(&true).into()
                }
                false => fits(&wanted)?.into(),
            }
        }
        "find" | "rfind" | "index" | "rindex" => found(text, method, &args)?,
        "count" => {
            let (within, _) = within(text, &args)?;
            within.matches(&args.need_text(0, "sub")?).count().into()
        }
        "join" => {
            let mut out = String::new();
            let items = args.get(0, "iterable").unwrap_or_default();
            for (i, item) in items.try_iter()?.enumerate() {
                let Some(item) = item.as_str() else {
                    let kind = item.kind();
                    let reason = format!("sequence item {i}: expected str instance, {kind} found");
                    return Err(Error::new(ErrorKind::InvalidOperation, reason));
                };
                if i > 0 {
                    out.push_str(text);
                }
                out.push_str(item);
            }
            out.into()
        }
        "format" => braces(text, &args, kept(state))?.into(),
        "format_map" => {
            let map = args.get(0, "mapping").unwrap_or_default();
            let keys = map.try_iter()?;
            let pairs = keys.map(|key| Ok((key.to_string(), map.get_item(&key)?)));
            let named: Kwargs = pairs.collect::<Result<_, Error>>()?;
            braces(text, &Arguments::new(&[named.into()]), kept(state))?.into()
        }
        "expandtabs" => {
            let size = args.number(0, "tabsize")?.unwrap_or(8);
            expanded(text, usize::try_from(size).unwrap_or(0)).into()
        }
        "encode" => Value::from_bytes(text.as_bytes().to_vec()),
        "translate" => {
            let table = args.get(0, "table").unwrap_or_default();
            let translated = text.chars().map(|c| {
                let new = table.get_item(&Value::from(c as u32)).unwrap_or_default();
                match new.is_undefined() {
                    true => c.to_string(),
                    false if new.is_none() => String::new(),
                    false => match new.as_i64().and_then(|n| char::from_u32(n as u32)) {
                        Some(c) => c.to_string(),
                        None => python::text(&new, kept(state)),
                    },
                }
            });
            translated.collect::<String>().into()
        }
        _ => match property(text, method) {
            Some(holds) => holds.into(),
            None => return Err(Error::from(ErrorKind::UnknownMethod)),
        },
    })
}

fn listed(parts: Vec<&str>) -> Value {
    parts.into_iter().map(Value::from).collect()
}

fn split(text: &str, from_the_right: bool, args: &Arguments) -> Result<Value, Error> {
    let most = args.number(1, "maxsplit")?.unwrap_or(-1);
    let most = usize::try_from(most).ok();
    let Some(between) = args.text(0, "sep")? else {
        return Ok(listed(match from_the_right {
            true => rsplit_space(text, most),
            false => split_space(text, most),
        }));
    };
    if between.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    let most = most.map_or(usize::MAX, |most| most.saturating_add(1));
    Ok(listed(match from_the_right {
        true => {
            let mut parts: Vec<&str> = text.rsplitn(most, &between).collect();
            parts.reverse();
            parts
        }
        false => text.splitn(most, &between).collect(),
    }))
}

/// The part of the text between the arguments `start` and `end`, and its first byte.
fn within<'t>(text: &'t str, args: &Arguments) -> Result<(&'t str, usize), Error> {
    let count = text.chars().count() as i64;
    let place = |given: Option<i64>, other: i64| match given.unwrap_or(other) {
        from_the_end @ ..0 => (count + from_the_end).max(0),
        place => place.min(count),
    };
    let start = place(args.number(1, "start")?, 0);
    let end = place(args.number(2, "end")?, count).max(start);
    let byte = |place: i64| {
        let mut bytes = text.char_indices().map(|(i, _)| i).chain([text.len()]);
        bytes.nth(place as usize).unwrap_or(text.len())
    };
    Ok((&text[byte(start)..byte(end)], byte(start)))
}

fn found(text: &str, method: &str, args: &Arguments) -> Result<Value, Error> {
    let (within, first) = within(text, args)?;
    let wanted = args.need_text(0, "sub")?;
    let place = match method {
        "find" | "index" => within.find(&wanted),
        _ => within.rfind(&wanted),
    };
    match place {
        Some(place) => Ok(text[..first + place].chars().count().into()),
        None if method.ends_with("find") => Ok(Value::from(-1)),
        None => Err(Error::new(
            ErrorKind::InvalidOperation,
            "substring not found",
        )),
    }
}

fn justified(text: &str, width: i64, fill: &str, method: &str) -> Result<String, Error> {
    if fill.chars().count() != 1 {
        let reason = "The fill character must be exactly one character long";
        return Err(Error::new(ErrorKind::InvalidOperation, reason));
    }
    let length = text.chars().count();
    // A width beyond any prompt's is a mistake of the template, and no memory is taken for it.
    let width = usize::try_from(width.clamp(0, 1 << 20)).unwrap_or(0);
    let missing = width.saturating_sub(length);
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        _ => missing / 2 + (missing & width & 1),
    };
    let (left, right) = (fill.repeat(left), fill.repeat(missing - left));
    Ok(format!("{left}{text}{right}"))
}

fn swapped(text: &str) -> String {
    let swap = |c: char| match c.is_uppercase() {
        true => c.to_lowercase().collect::<String>(),
        false => c.to_uppercase().collect(),
    };
    text.chars().map(swap).collect()
}

fn cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase() || title_form(c)
}

/// Letters that are two in one, the first of them upper case.
fn title_form(c: char) -> bool {
    matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ')
}

fn title(state: &mut State, text: &str) -> Result<String, Error> {
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        match inside {
            true => out.extend(c.to_lowercase()),
            false => {
                let first = Value::from(c.to_string());
                out.push_str(&state.apply_filter("capitalize", &[first])?.to_string());
            }
        }
        inside = cased(c);
    }
    Ok(out)
}

fn expanded(text: &str, size: usize) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for c in text.chars() {
        match c {
            '\t' => {
                let spaces = if size == 0 { 0 } else { size - column % size };
                out.push_str(&" ".repeat(spaces));
                column += spaces;
            }
            c => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') {
                    0
                } else {
                    column + 1
                };
            }
        }
    }
    out
}

/// `isalpha` and its like.
fn property(text: &str, method: &str) -> Option<bool> {
    let all = |holds: fn(char) -> bool| !text.is_empty() && text.chars().all(holds);
    // Superscripts and circled digits are digits, and no decimals.
    let digit = |c: char| {
        decimal(c) || matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉' | '①'..='⑨')
    };
    Some(match method {
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isdecimal" => all(decimal),
        "isdigit" => all(digit),
        "isnumeric" => all(char::is_numeric),
        "isspace" => all(space),
        "isascii" => text.is_ascii(),
        "isprintable" => text.chars().all(printable),
        "isidentifier" => {
            let first = text.starts_with(|c: char| c.is_alphabetic() || c == '_');
            first && text.chars().all(|c| c.is_alphanumeric() || c == '_')
        }
        "isupper" => text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase),
        "islower" => text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase),
        "istitle" => {
            let (mut inside, mut any) = (false, false);
            for c in text.chars() {
                let capital = c.is_uppercase() || title_form(c);
                if cased(c) && capital == inside {
                    return Some(false);
                }
                (inside, any) = (cased(c), any || cased(c));
            }
            any
        }
        _ => return None,
    })
}

/// Decimal digits of the scripts that a number is likely written in.
pub(super) fn decimal(c: char) -> bool {
    decimal_value(c).is_some()
}

/// The value of a decimal digit. Digits of a script lie in order, beginning with its zero.
pub(super) fn decimal_value(c: char) -> Option<u32> {
    const ZEROS: [u32; 22] = [
        0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66,
        0xDE6, 0xE50, 0xED0, 0xF20, 0x1040, 0x17E0, 0x1810, 0x1946, 0xFF10,
    ];
    let zero = ZEROS
        .iter()
        .find(|zero| (**zero..**zero + 10).contains(&(c as u32)))?;
    Some(c as u32 - zero)
}
