//! Reading a chat or a completion by the table of `parameters.rs`.

use super::parameters::{NEUTRAL, Route, Rule, STREAM_OPTIONS, rule, rule_of};
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
    pub include_usage: Option<bool>,
}

/// The options of a streamed answer; `None` for a whole answer.
pub fn streaming(stream: Option<bool>, options: Option<StreamOptions>) -> Option<StreamOptions> {
    stream.unwrap_or(false).then(|| options.unwrap_or_default())
}

/// Reads a chat or a completion. Refuses the first field that asks for something this server cannot do.
pub fn read<T: DeserializeOwned>(mut body: Map<String, Value>, route: Route) -> Result<T, Problem> {
    screen("", &mut body, |name| rule(route, name))?;
    match body.get_mut("stream_options") {
        Some(Value::Object(options)) => screen("stream_options.", options, |name| {
            rule_of(STREAM_OPTIONS, name)
        })?,
        // Serde would accept a list as the fields in order.
        Some(Value::Array(_)) => {
            let detail = "stream_options is an object.";
            return Err(Problem::invalid("stream_options", detail));
        }
        _ => {}
    }
    // Serde does not name the place of an error within flattened fields, so these fields are read separately first.
    from_value::<SamplingFields>(&body)?;
    Ok(from_value(Value::Object(body))?)
}

/// Keeps the fields that are obeyed, and refuses others by their rules. `at`: the prefix of the fields' names.
pub fn screen(
    at: &str,
    body: &mut Map<String, Value>,
    rule: impl Fn(&str) -> Rule,
) -> Result<(), Problem> {
    check(at, body, &rule)?;
    body.retain(|name, _| matches!(rule(name), Rule::Obeyed));
    Ok(())
}

/// Refuses fields by their rules.
pub fn check(
    at: &str,
    body: &Map<String, Value>,
    rule: impl Fn(&str) -> Rule,
) -> Result<(), Problem> {
    for (name, value) in body.iter() {
        let refuse = |sentence: &str| Err(unsupported(format!("{at}{name}"), sentence));
        match rule(name) {
            Rule::Obeyed | Rule::Label => {}
            Rule::Refused(harmless, _) if value.is_null() || among(harmless, value) => {}
            Rule::Refused(_, sentence) => return refuse(sentence),
            Rule::Unknown if among(&NEUTRAL, value) => {}
            Rule::Unknown => {
                return refuse(&format!(
                    "{at}{name} is not known here, and a field that is not known is not ignored; leave it out."
                ));
            }
        }
    }
    Ok(())
}

pub fn unsupported(field: impl Into<String>, sentence: &str) -> Problem {
    Problem::bad_request("unsupported_parameter", sentence).field(field)
}

/// Whether the value is one of these JSON texts.
fn among(texts: &[&str], value: &Value) -> bool {
    let mut texts = texts.iter();
    texts.any(|text| serde_json::from_str(text).is_ok_and(|known: Value| same(&known, value)))
}

/// Equality of JSON: 1 is 1.0, and a field that is null is as good as absent.
fn same(known: &Value, given: &Value) -> bool {
    match (known, given) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Object(a), Value::Object(b)) => {
            let filled = b.iter().filter(|(_, value)| !value.is_null());
            filled.clone().count() == a.len()
                && filled
                    .into_iter()
                    .all(|(k, v)| a.get(k).is_some_and(|known| same(known, v)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => known == given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_json_is_known() {
        for (known, given) in [
            (json!(1), json!(1.0)),
            (json!(0), json!(-0.0)),
            (
                json!({"type": "text"}),
                json!({"type": "text", "json_schema": null}),
            ),
            (json!(["text"]), json!(["text"])),
        ] {
            assert!(same(&known, &given), "{known} {given}");
        }
        for (known, given) in [
            (json!(1), json!(true)),
            (json!(0), json!(false)),
            (json!({"type": "text"}), json!({})),
            (json!({}), json!({"type": "text"})),
            (json!([]), json!([null])),
        ] {
            assert!(!same(&known, &given), "{known} {given}");
        }
    }
}
