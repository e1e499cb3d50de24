//! Reading JSON into the exact shape of a request. A refusal names the wrong field.

use super::refusal::{Refusal, RefusalKind};
use crate::reading;
use crate::text::characters::is_blank;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::{Map, Value};

/// Parses bytes, before which there may be a byte order mark. The refusal is `Malformed` if they are not JSON,
/// `Invalid` if the JSON has another shape.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    let bytes = reading::without_mark(bytes).map_err(|error| {
        Refusal::malformed("not_utf8", format!("The body cannot be read: {error}."))
    })?;
    // Serde would accept a list as the fields in order.
    if bytes.trim_ascii_start().starts_with(b"[") {
        let detail = "The body is an object, not a list.";
        return Err(Refusal::new(RefusalKind::Invalid, "invalid_field", detail));
    }
    let mut parser = serde_json::Deserializer::from_slice(&bytes);
    let value = serde_path_to_error::deserialize(&mut parser)
        .map_err(|error| unreadable(error.path().to_string(), error.inner(), &bytes))?;
    parser
        .end()
        .map_err(|error| unreadable(String::new(), &error, &bytes))?;
    Ok(value)
}

/// Reads a parsed value.
pub fn from_value<'de, T: serde::Deserialize<'de>>(
    value: impl Deserializer<'de, Error = serde_json::Error>,
) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| wrong_shape(error.path().to_string(), &error.inner().to_string()))
}

/// Reads the value of `field`.
pub fn at<T: DeserializeOwned>(field: &str, value: Value) -> Result<T, Refusal> {
    from_value::<T>(value).map_err(|refusal| {
        // The sentence begins with the inner field, if there is one: `method: …` within `training` becomes
        // `training.method: …`.
        let (inner, separator) = match &refusal.field {
            Some(inner) => (format!("{field}.{inner}"), "."),
            None => (field.to_owned(), ": "),
        };
        let detail = format!("{field}{separator}{}", refusal.detail);
        Refusal { detail, ..refusal }.field(inner)
    })
}

/// Reads the object of `field`.
pub fn object<T: DeserializeOwned>(field: &str, value: Value) -> Result<T, Refusal> {
    // Serde would accept a list as the fields in order, and null as no fields.
    if !value.is_object() {
        return Err(Refusal::invalid(field, format!("{field} is an object.")));
    }
    at(field, value)
}

/// For `deserialize_with`: an object or null, but no list of its fields in order.
pub fn optional_object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let fields = Option::<Map<String, Value>>::deserialize(deserializer)?;
    let read = fields.map(|fields| T::deserialize(Value::Object(fields)));
    read.transpose().map_err(serde::de::Error::custom)
}

/// Refuses a text without a visible character.
pub fn filled(field: &str, text: &str) -> Result<(), Refusal> {
    match is_blank(text) {
        true => Err(Refusal::invalid(field, format!("{field} is empty."))),
        false => Ok(()),
    }
}

fn unreadable(path: String, error: &serde_json::Error, bytes: &[u8]) -> Refusal {
    use serde_json::error::Category;
    // The parser also takes for bad syntax what no double holds, and a number where one of a few words is expected.
    let is_large = || error.to_string().starts_with("number out of range");
    let is_json = || serde_json::from_slice::<Value>(bytes).is_ok();
    match error.classify() {
        Category::Data => wrong_shape(path, &error.to_string()),
        Category::Syntax if is_large() => wrong_shape(path, "the number is too large"),
        Category::Syntax if is_json() => {
            wrong_shape(path, "a value of another type is expected here")
        }
        Category::Syntax | Category::Eof | Category::Io => {
            Refusal::malformed("malformed_json", format!("The body is not JSON: {error}."))
        }
    }
}

/// The refusal of a value with a wrong shape at `path`. Serde names an unknown or missing field in its message and not
/// in the path, so the name is taken from the message.
pub fn wrong_shape(path: String, message: &str) -> Refusal {
    let message = &plain(message);
    let path = if path == "." { String::new() } else { path };
    let named = |prefix: &str| {
        let rest = message.strip_prefix(prefix)?;
        Some(rest.split('`').next().unwrap_or(rest).to_owned())
    };
    let (code, leaf) = match (named("unknown field `"), named("missing field `")) {
        (Some(name), _) => ("unknown_field", Some(name)),
        (_, Some(name)) => ("missing_field", Some(name)),
        _ => ("invalid_field", None),
    };
    let field = match leaf {
        Some(leaf) if path.is_empty() => leaf,
        Some(leaf) if path == leaf || path.ends_with(&format!(".{leaf}")) => path,
        Some(leaf) => format!("{path}.{leaf}"),
        None => path,
    };
    if field.is_empty() {
        return Refusal::new(RefusalKind::Invalid, code, format!("{message}."));
    }
    Refusal::new(RefusalKind::Invalid, code, format!("{field}: {message}.")).field(field)
}

/// What libraries call a type, and what a reader does. A phrase stands before those that it begins with.
const TYPES: [(&str, &str); 22] = [
    ("u8", "a whole number from 0"),
    ("u16", "a whole number from 0"),
    ("u32", "a whole number from 0"),
    ("u64", "a whole number from 0"),
    ("usize", "a whole number from 0"),
    ("i8", "a whole number"),
    ("i16", "a whole number"),
    ("i32", "a whole number"),
    ("i64", "a whole number"),
    ("isize", "a whole number"),
    ("f32", "a number"),
    ("f64", "a number"),
    ("a map", "an object"),
    ("map", "an object"),
    ("a sequence", "a list"),
    ("sequence", "a list"),
    ("a borrowed string", "a string"),
    ("string or map", "a string"),
    ("variant identifier", "a string"),
    ("path string", "a string"),
    ("unit", "null"),
    ("any valid JSON value", "a value that JSON has, too"),
];

/// The message of a parser in its reader's words: without the names of types in the code.
pub fn plain(message: &str) -> String {
    let mut words = message.to_owned();
    for before in ["expected ", "invalid type: "] {
        let Some(at) = words.rfind(before).map(|at| at + before.len()) else {
            continue;
        };
        let rest = &words[at..];
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let mut known = TYPES.iter();
        let known = known.find(|(name, _)| rest.strip_prefix(name).is_some_and(ends));
        let named = [
            "struct ",
            "tuple struct ",
            "unit struct ",
            "newtype struct ",
            "enum ",
        ];
        let replaced = match known {
            Some((name, plain)) => Some((name.len(), *plain)),
            // The name of a type of ours follows.
            None => named
                .iter()
                .find(|kind| rest.starts_with(**kind))
                .map(|kind| {
                    let name = rest[kind.len()..].find(|c: char| !c.is_alphanumeric());
                    (name.map_or(rest.len(), |end| kind.len() + end), "an object")
                }),
        };
        if let Some((length, plain)) = replaced {
            words.replace_range(at..at + length, plain);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Outer {
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Inner {
        text: String,
    }

    fn refusal(body: &str) -> (RefusalKind, &'static str, Option<String>) {
        let refusal = parse::<Outer>(body.as_bytes()).unwrap_err();
        (refusal.kind, refusal.code, refusal.field)
    }

    #[test]
    fn a_refusal_names_the_field() {
        use RefusalKind::{Invalid, Malformed};
        let at = |field: &str| Some(field.to_owned());
        let unknown = refusal(r#"{"inner":[{"text":"a","tetx":"b"}]}"#);
        assert_eq!(unknown, (Invalid, "unknown_field", at("inner[0].tetx")));
        let missing = refusal(r#"{"inner":[{}]}"#);
        assert_eq!(missing, (Invalid, "missing_field", at("inner[0].text")));
        let wrong = refusal(r#"{"inner":[{"text":7}]}"#);
        assert_eq!(wrong, (Invalid, "invalid_field", at("inner[0].text")));
        assert_eq!(
            refusal(r#"{"inner":["#),
            (Malformed, "malformed_json", None)
        );
        assert_eq!(refusal(r#" [[]]"#), (Invalid, "invalid_field", None));
        assert_eq!(
            refusal(r#"{"inner":[]} x"#),
            (Malformed, "malformed_json", None)
        );
    }

    #[test]
    fn types_have_the_readers_words() {
        for (message, words) in [
            (
                "invalid value: integer `-1`, expected u64",
                "invalid value: integer `-1`, expected a whole number from 0",
            ),
            (
                "invalid type: map, expected a string",
                "invalid type: an object, expected a string",
            ),
            (
                "invalid type: sequence, expected struct Inner",
                "invalid type: a list, expected an object",
            ),
            (
                "invalid type: string \"x\", expected f32 at line 1 column 3",
                "invalid type: string \"x\", expected a number at line 1 column 3",
            ),
            (
                "unknown variant `map`, expected `u64` or `b`",
                "unknown variant `map`, expected `u64` or `b`",
            ),
            ("expected a mapping", "expected a mapping"),
        ] {
            assert_eq!(plain(message), words);
        }
    }

    #[test]
    fn a_number_that_no_double_holds_is_named() {
        let body = format!(r#"{{"inner":[{{"text":1{}}}]}}"#, "0".repeat(400));
        let refused = refusal(&body);
        assert_eq!(
            refused,
            (
                RefusalKind::Invalid,
                "invalid_field",
                Some("inner[0].text".to_owned())
            )
        );
        assert!(
            parse::<Map<String, Value>>(body.as_bytes())
                .unwrap_err()
                .field
                .is_some()
        );
    }

    #[test]
    fn a_refusal_names_the_field_within_a_field() {
        let inner = |value| at::<Inner>("outer", value).unwrap_err();
        let wrong = inner(serde_json::json!({"text": 7}));
        assert_eq!(wrong.field.as_deref(), Some("outer.text"));
        assert!(wrong.detail.starts_with("outer.text: "), "{}", wrong.detail);
        let wrong = inner(serde_json::json!(7));
        assert_eq!(wrong.field.as_deref(), Some("outer"));
        assert!(wrong.detail.starts_with("outer: "), "{}", wrong.detail);
        let list = object::<Inner>("outer", serde_json::json!(["x"])).unwrap_err();
        assert_eq!(list.detail, "outer is an object.");
    }
}
