//! Fields that OpenAI's routes share, and the refusal of fields that are not implemented.
//!
//! OpenAI's clients send fields that this server does not need (`user`, `store`, `metadata` …), so unknown fields are
//! ignored. A field that would change the answer but is not implemented is refused: an answer without the requested
//! tools, for example, would be wrong.

use super::sampling::SamplingFields;
use crate::http::common::error::Problem;
use crate::workflows::fields::from_value;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// Tokens of one answer, all choices together.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub completion_tokens: usize,
    pub total_tokens: usize,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
pub struct StreamOptions {
    /// Send one more chunk with the usage and without choices.
    #[serde(default)]
    pub include_usage: bool,
}

/// The options of a streamed answer; `None` for a whole answer.
pub fn streaming(stream: Option<bool>, options: Option<StreamOptions>) -> Option<StreamOptions> {
    stream.unwrap_or(false).then(|| options.unwrap_or_default())
}

/// A field that is not implemented, its harmless values, and the sentence for all other values.
pub struct Unsupported {
    pub field: &'static str,
    pub harmless: fn(&Value) -> bool,
    pub sentence: &'static str,
}

/// Reads a chat or a completion. Refuses fields that are not implemented.
pub fn read<T: DeserializeOwned>(
    body: Map<String, Value>,
    rules: &[Unsupported],
) -> Result<T, Problem> {
    refuse(&body, rules)?;
    // Serde does not name the place of an error within flattened fields, so these fields are read separately first.
    from_value::<SamplingFields>(&body)?;
    Ok(from_value(Value::Object(body))?)
}

/// Refuses the first field of `body` that asks for something this server cannot do.
fn refuse(body: &Map<String, Value>, rules: &[Unsupported]) -> Result<(), Problem> {
    let broken = rules.iter().find(|rule| {
        let asked = body.get(rule.field).filter(|value| !value.is_null());
        asked.is_some_and(|value| !(rule.harmless)(value))
    });
    match broken {
        Some(rule) => Err(unsupported(rule.field, rule.sentence)),
        None => Ok(()),
    }
}

pub fn unsupported(field: impl Into<String>, sentence: &str) -> Problem {
    Problem::bad_request("unsupported_parameter", sentence).field(field)
}

/// No value of the field is harmless.
pub fn never(_: &Value) -> bool {
    false
}

/// Empty lists and objects ask for nothing.
pub fn empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
