//! `tojson` as transformers defines it: `json.dumps(value, ensure_ascii=False, indent=None, separators=None,
//! sort_keys=False)`.

use super::arguments::Arguments;
use super::environment::kept;
use super::python;
use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State};

pub(super) fn tojson(state: &State, args: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let args = Arguments::of(args);
    let value = args.get(0, "x").unwrap_or_default();
    let flag = |i, name| args.get(i, name).is_some_and(|flag| flag.is_true());
    let indent = args.get(2, "indent").map(|indent| match indent.as_str() {
        Some(text) => text.to_owned(),
        None => " ".repeat(indent.as_i64().unwrap_or(0).clamp(0, 100) as usize),
    });
    let separators = match args.get(3, "separators") {
        Some(pair) => pair.try_iter()?.map(|text| text.to_string()).collect(),
        None if indent.is_some() => vec![",".to_owned(), ": ".to_owned()],
        None => vec![", ".to_owned(), ": ".to_owned()],
    };
    let [item, key] = <[String; 2]>::try_from(separators).map_err(|found| {
        let reason = format!("separators are two texts, not {}", found.len());
        Error::new(ErrorKind::InvalidOperation, reason)
    })?;
    let mut writer = Writer {
        ascii: flag(1, "ensure_ascii"),
        sorted: flag(4, "sort_keys"),
        indent,
        item,
        key,
        kept: kept(state),
        depth: 0,
        out: String::new(),
    };
    writer.value(&value)?;
    Ok(Value::from(writer.out))
}

struct Writer {
    ascii: bool,
    sorted: bool,
    indent: Option<String>,
    /// Between items, and between a key and its value.
    item: String,
    key: String,
    /// Never escaped.
    kept: Option<char>,
    depth: usize,
    out: String,
}

impl Writer {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(word(value)),
            ValueKind::Number => self.out.push_str(&number(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.container(['[', ']'], items, Self::value)?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sorted {
                    keys.sort();
                }
                self.container(['{', '}'], keys, |writer, key| {
                    writer.key(key)?;
                    let between = writer.key.clone();
                    writer.out.push_str(&between);
                    writer.value(&value.get_item(key)?)
                })?;
            }
            other => {
                let reason = format!("Object of type {other} is not JSON serializable");
                return Err(Error::new(ErrorKind::BadSerialization, reason));
            }
        }
        Ok(())
    }

    fn container(
        &mut self,
        brackets: [char; 2],
        items: Vec<Value>,
        mut write: impl FnMut(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(brackets[0]);
        self.depth += 1;
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                let between = self.item.clone();
                self.out.push_str(&between);
            }
            self.line();
            write(self, item)?;
        }
        self.depth -= 1;
        if !items.is_empty() {
            self.line();
        }
        self.out.push(brackets[1]);
        Ok(())
    }

    /// A new line where the text is indented.
    fn line(&mut self) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            self.out.push_str(&indent.repeat(self.depth));
        }
    }

    fn key(&mut self, key: &Value) -> Result<(), Error> {
        match key.kind() {
            ValueKind::String => self.string(key.as_str().unwrap_or_default()),
            ValueKind::None => self.out.push_str("\"null\""),
            ValueKind::Bool => self.out.push_str(&format!("\"{}\"", word(key))),
            ValueKind::Number => self.out.push_str(&format!("\"{}\"", number(key))),
            other => {
                let reason = format!("keys must be str, int, float, bool or None, not {other}");
                return Err(Error::new(ErrorKind::BadSerialization, reason));
            }
        }
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\x08' => self.out.push_str("\\b"),
                '\x0c' => self.out.push_str("\\f"),
                c if Some(c) == self.kept => self.out.push(c),
                c if c < ' ' || (self.ascii && !(' '..='~').contains(&c)) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn word(value: &Value) -> &'static str {
    if value.is_true() { "true" } else { "false" }
}

fn number(value: &Value) -> String {
    match python::float_of(value) {
        Some(nan) if nan.is_nan() => "NaN".into(),
        Some(infinite) if infinite.is_infinite() => {
            python::float(infinite).replace("inf", "Infinity")
        }
        Some(float) => python::float(float),
        None => value.to_string(),
    }
}
