//! Records stored as JSON. A room above the store defines the type of each record. Each record carries the number of
//! its format.
//!
//! A record that cannot be read back as its type is an [`Error::Unreadable`] that names the record. So a changed field
//! shows at once and never reads as an empty field.

use super::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The key of the format number, beside the record's own fields.
const FORMAT_KEY: &str = "format";
/// The format of records without a number: the build of commit d0c0210 wrote none.
const FIRST_FORMAT: u64 = 1;

/// A type that is stored as a JSON object.
pub trait Record: Serialize + DeserializeOwned {
    /// The record's name in errors, such as `report`.
    const KIND: &'static str;
    /// The format that this build writes, and the newest format that it reads.
    const FORMAT: u64;

    /// Encodes the record as a JSON object with its format number.
    fn encode(&self) -> Result<Value> {
        let unwritable = |reason: String| Error::Unwritable {
            kind: Self::KIND,
            reason,
        };
        let mut value = serde_json::to_value(self).map_err(|e| unwritable(e.to_string()))?;
        let Some(fields) = value.as_object_mut() else {
            return Err(unwritable("a record is a JSON object".into()));
        };
        fields.insert(FORMAT_KEY.into(), Self::FORMAT.into());
        Ok(value)
    }

    /// Decodes the result of [`encode`](Record::encode). `owner` names the record's owner in errors, such as a
    /// document's id.
    fn decode(owner: &str, value: &Value) -> Result<Self> {
        let unreadable = |reason: String| Error::Unreadable {
            kind: Self::KIND,
            owner: owner.into(),
            reason,
        };
        let fields = value.as_object();
        let fields = fields.ok_or_else(|| unreadable("it is no JSON object".into()))?;
        let format = match fields.get(FORMAT_KEY) {
            None => FIRST_FORMAT,
            Some(number) => (number.as_u64())
                .ok_or_else(|| unreadable(format!("{FORMAT_KEY} is {number}, not a number")))?,
        };
        if format > Self::FORMAT {
            let newest = Self::FORMAT;
            return Err(unreadable(format!(
                "it has format {format}, and this build reads formats up to {newest}"
            )));
        }
        Self::deserialize(value).map_err(|e| unreadable(e.to_string()))
    }
}

/// The record as clients see it: without the number of its format, which is the store's own.
pub fn without_format(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(FORMAT_KEY);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        sequences: Vec<String>,
    }

    impl Record for Note {
        const KIND: &'static str = "note";
        const FORMAT: u64 = 2;
    }

    #[test]
    fn a_record_is_read_back_with_or_without_a_number() {
        let note = Note {
            sequences: vec!["a".into()],
        };
        let stored = note.encode().unwrap();
        assert_eq!(stored, json!({"format": 2, "sequences": ["a"]}));
        assert_eq!(Note::decode("doc_1", &stored).unwrap(), note);
        let before_formats = json!({"sequences": ["a"]});
        assert_eq!(Note::decode("doc_1", &before_formats).unwrap(), note);
    }

    #[test]
    fn a_record_that_cannot_be_read_is_named() {
        let told = |value| Note::decode("doc_1", &value).unwrap_err().to_string();
        let renamed = told(json!({"lines": ["a"]}));
        assert!(
            renamed.starts_with("the note of doc_1 cannot be read back"),
            "{renamed}"
        );
        assert!(renamed.contains("sequences"), "{renamed}");
        let newer = told(json!({"format": 3, "sequences": []}));
        assert!(
            newer.contains("format 3") && newer.contains("up to 2"),
            "{newer}"
        );
        assert!(told(json!([])).contains("no JSON object"));
    }
}
