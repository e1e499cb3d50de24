//! The arguments of a call, by place or by name.

use minijinja::value::{Kwargs, Rest, Value, ValueOrKwargs};
use minijinja::{Error, ErrorKind};

pub(super) struct Arguments {
    places: Vec<Value>,
    names: Option<Kwargs>,
}

impl Arguments {
    pub fn new(args: &[Value]) -> Self {
        match args.split_last() {
            Some((last, places)) if last.is_kwargs() => Arguments {
                places: places.to_vec(),
                names: Kwargs::try_from(last.clone()).ok(),
            },
            _ => Arguments {
                places: args.to_vec(),
                names: None,
            },
        }
    }

    /// Of a filter or function, which minijinja would otherwise give no named arguments.
    pub fn of(args: Rest<ValueOrKwargs>) -> Self {
        Arguments::new(&args.into_values())
    }

    /// The argument; `None` if it is not given.
    pub fn given(&self, place: usize, name: &str) -> Option<Value> {
        let named = || self.names.as_ref()?.get::<Value>(name).ok();
        self.places.get(place).cloned().or_else(named)
    }

    /// The argument; `None` if it is not given or is Python's `None`.
    pub fn get(&self, place: usize, name: &str) -> Option<Value> {
        self.given(place, name).filter(|value| !value.is_none())
    }

    /// The arguments given by name.
    pub fn named(&self) -> Vec<(String, Value)> {
        let names = self.names.iter().flat_map(|names| names.args());
        let pairs = names.filter_map(|name| {
            let value = self.names.as_ref()?.get::<Value>(name).ok()?;
            Some((name.to_owned(), value))
        });
        pairs.collect()
    }

    pub fn text(&self, place: usize, name: &str) -> Result<Option<String>, Error> {
        let text = |value: Value| match value.as_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(wrong(name, "a string", &value)),
        };
        self.get(place, name).map(text).transpose()
    }

    pub fn need_text(&self, place: usize, name: &str) -> Result<String, Error> {
        let missing = || Error::new(ErrorKind::MissingArgument, format!("{name} is not given"));
        self.text(place, name)?.ok_or_else(missing)
    }

    pub fn number(&self, place: usize, name: &str) -> Result<Option<i64>, Error> {
        let number = |value: Value| {
            value
                .as_i64()
                .or_else(|| (value == Value::from(true)).then_some(1))
                .ok_or_else(|| wrong(name, "an integer", &value))
        };
        self.get(place, name).map(number).transpose()
    }
}

fn wrong(name: &str, wanted: &str, found: &Value) -> Error {
    let reason = format!("{name} must be {wanted}, not {}", found.kind());
    Error::new(ErrorKind::InvalidOperation, reason)
}
