//! Jinja as transformers sets it up: blocks leave no blank lines, Python's string methods work, and `tojson`,
//! `raise_exception` and `strftime_now` behave as in transformers.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind};
use serde::Serialize;
use serde_json::ser::Formatter;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn new() -> Environment<'static> {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    env.set_syntax(syntax.expect("the default delimiters are valid"));
    env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    env.add_filter("tojson", tojson);
    env.add_function(
        "raise_exception",
        |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    env.add_function("strftime_now", |format: String| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        strftime(&format, now.as_secs())
    });
    env
}

/// `json.dumps(value, ensure_ascii=False, indent=…)`: spaces after `,` and `:`, nothing escaped for HTML.
fn tojson(value: Value, options: Kwargs) -> Result<Value, Error> {
    let failed = |e: serde_json::Error| Error::new(ErrorKind::BadSerialization, e.to_string());
    let indent: Option<usize> = options.get("indent")?;
    let mut out = Vec::new();
    match indent {
        Some(indent) => {
            let spaces = " ".repeat(indent);
            let pretty = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value
                .serialize(&mut serde_json::Serializer::with_formatter(
                    &mut out, pretty,
                ))
                .map_err(failed)?;
        }
        None => value
            .serialize(&mut serde_json::Serializer::with_formatter(
                &mut out, Python,
            ))
            .map_err(failed)?,
    }
    let text = String::from_utf8(out).expect("serde_json writes UTF-8");
    Ok(Value::from_safe_string(text))
}

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Formats a time in UTC. Directives that no published template uses stay as written.
fn strftime(format: &str, seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let second = seconds % 86_400;
    let month_name = MONTHS[month - 1];
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('Y') => out += &year.to_string(),
            Some('y') => out += &format!("{:02}", year % 100),
            Some('m') => out += &format!("{month:02}"),
            Some('d') => out += &format!("{day:02}"),
            Some('B') => out += month_name,
            Some('b') => out += &month_name[..3],
            Some('H') => out += &format!("{:02}", second / 3600),
            Some('M') => out += &format!("{:02}", second / 60 % 60),
            Some('S') => out += &format!("{:02}", second % 60),
            Some('%') => out.push('%'),
            other => {
                out.push('%');
                out.extend(other);
            }
        }
    }
    out
}

/// Year, month and day of a number of days since 1 January 1970.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    #[test]
    fn dates_are_the_calendar() {
        // `date -u -d @1709210096` says Thu Feb 29 12:34:56 UTC 2024.
        assert_eq!(
            strftime("%d %b %Y, %H:%M:%S 100%% %Q", 1_709_210_096),
            "29 Feb 2024, 12:34:56 100% %Q"
        );
        assert_eq!(strftime("%Y-%m-%d %B", 946_684_799), "1999-12-31 December");
    }

    #[test]
    fn json_is_pythons() {
        let value = serde_json::json!({"a": [1, 2], "b": "<é'>"});
        let text = new()
            .render_str(
                "{{ v | tojson }}",
                context! { v => minijinja::value::Serde(value) },
            )
            .unwrap();
        assert_eq!(text, r#"{"a": [1, 2], "b": "<é'>"}"#);
    }

    #[test]
    fn templates_can_refuse() {
        let error = new()
            .render_str("{{ raise_exception('no system role') }}", ())
            .unwrap_err();
        assert!(error.to_string().contains("no system role"));
    }
}
