//! The entries of `adapter_config.json`, with nested maps in the order of the file: PEFT matches its patterns in
//! that order.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// One value of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// A map, in the order of the file.
    Map(Vec<(String, Value)>),
    Plain(Value),
}

impl Field {
    /// Whether the value asks for nothing: null, false, an empty text, list or map.
    pub fn is_neutral(&self) -> bool {
        match self {
            Field::Map(entries) => entries.is_empty(),
            Field::Plain(Value::Null | Value::Bool(false)) => true,
            Field::Plain(Value::String(text)) => text.is_empty(),
            Field::Plain(Value::Array(items)) => items.is_empty(),
            Field::Plain(_) => false,
        }
    }
}

impl fmt::Display for Field {
    /// As JSON, cut to what a message can hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Field::Plain(value) => value.to_string(),
            Field::Map(entries) => {
                let entries = entries.iter().map(|(k, v)| format!("{k:?}: {v}"));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        };
        match text.char_indices().nth(LONGEST) {
            None => f.write_str(&text),
            Some((at, _)) => write!(f, "{}…", &text[..at]),
        }
    }
}

/// Most characters of a value in a message.
const LONGEST: usize = 120;

/// All entries of the file, in its order.
pub struct Fields(pub Vec<(String, Field)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Fields, M::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = map.next_entry::<String, Field>()? {
                    fields.push(entry);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Field;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Field, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Field::Map(entries))
            }
            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Field, S::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Field::Plain(Value::Array(items)))
            }
            fn visit_unit<E>(self) -> Result<Field, E> {
                Ok(Field::Plain(Value::Null))
            }
            fn visit_bool<E>(self, v: bool) -> Result<Field, E> {
                Ok(Field::Plain(v.into()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Field, E> {
                Ok(Field::Plain(v.into()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Field, E> {
                Ok(Field::Plain(v.into()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Field, E> {
                Ok(Field::Plain(v.into()))
            }
            fn visit_str<E>(self, v: &str) -> Result<Field, E> {
                Ok(Field::Plain(v.into()))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_keeps_the_order_of_the_file() {
        let text = r#"{"b": {"z": 1, "a": 2}, "a": [1], "n": null}"#;
        let Fields(fields) = serde_json::from_str(text).unwrap();
        let Field::Map(map) = &fields[0].1 else {
            panic!("{:?}", fields[0])
        };
        assert_eq!(
            map.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>(),
            ["z", "a"]
        );
        assert!(fields[2].1.is_neutral() && !fields[1].1.is_neutral());
        assert_eq!(fields[0].1.to_string(), r#"{"z": 1, "a": 2}"#);
    }
}
