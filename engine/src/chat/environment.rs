//! Jinja as transformers sets it up: blocks leave no blank lines, values are spelled and methods work as in Python, and
//! `tojson`, `raise_exception` and `strftime_now` behave as in transformers.

use super::clock::{self, Instant};
use super::{filters, json, methods, python};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State};

/// Names of the context that no template can spell: the time, and the character that no filter may escape.
pub(super) const SECONDS: &str = "the seconds";
pub(super) const MICROSECONDS: &str = "the microseconds";
pub(super) const KEPT: &str = "the kept character";

pub(super) fn new() -> Environment<'static> {
    let mut env = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    env.set_syntax(syntax.expect("the default delimiters are valid"));
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_unknown_method_callback(methods::call);
    env.set_formatter(write);
    env.add_filter("tojson", json::tojson);
    filters::add(&mut env);
    env.add_function("raise_exception", |message: Value| {
        let message = python::text(&message, None);
        Err::<Value, _>(Error::new(ErrorKind::InvalidOperation, message))
    });
    env.add_function("strftime_now", |state: &State, format: String| {
        let number = |name| state.lookup(name).and_then(|n| n.as_i64()).unwrap_or(0);
        let now = Instant {
            seconds: number(SECONDS) as u64,
            microseconds: number(MICROSECONDS) as u32,
        };
        clock::strftime(&format, now)
    });
    env
}

/// The character that spellings leave as it is: see the guard of control tokens.
pub(super) fn kept(state: &State) -> Option<char> {
    state.lookup(KEPT)?.as_str()?.chars().next()
}

fn write(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let text = python::text(value, kept(state));
    let escaped = !matches!(state.auto_escape(), AutoEscape::None) && !value.is_safe();
    let written = match escaped {
        true => out.write_str(&filters::html(&text)),
        false => out.write_str(&text),
    };
    written.map_err(|_| Error::new(ErrorKind::WriteFailure, "the text cannot grow"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_can_refuse() {
        let error = new()
            .render_str("{{ raise_exception('no system role') }}", ())
            .unwrap_err();
        assert!(error.to_string().contains("no system role"));
    }
}
