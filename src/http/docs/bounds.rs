//! Bounds, patterns and formats that the types' own descriptions cannot say, and those of types in other rooms.

use serde_json::{Map, Value, json};

/// An adapter's name (`AliasName`).
const NAME: &str = r#"{"pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"}"#;
/// An adapter, or one of its versions (`name@2`).
const REFERENCE: &str = r#"{"pattern": "^[a-z0-9][a-z0-9._-]{0,63}(@.+)?$"}"#;
/// A character that is seen: no white space, no control character and none without a shape.
macro_rules! seen {
    () => {
        r#""pattern": "[^\\s\\u0000-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u2800\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufff8]""#
    };
}
/// A text of which something is seen.
const FILLED: &str = concat!(r#"{"minLength": 1, "#, seen!(), "}");
const TITLE: &str = concat!(r#"{"minLength": 1, "maxLength": 300, "#, seen!(), "}");
const TIME: &str = r#"{"format": "date-time"}"#;
const SHARE: &str = r#"{"minimum": 0, "maximum": 1}"#;
const RANK: &str = r#"{"minimum": 1, "maximum": 256}"#;
const ALPHA: &str = r#"{"minimum": 0.01, "maximum": 1024}"#;
const RATE: &str = r#"{"minimum": 0.0000001, "maximum": 0.1}"#;
const EPOCHS: &str = r#"{"minimum": 1, "maximum": 100}"#;
const BATCH: &str = r#"{"minimum": 1, "maximum": 64}"#;
const EARLY: &str = r#"{"minimum": 0, "maximum": 1}"#;
const RATIO: &str = r#"{"minimum": 1, "maximum": 100}"#;
const UPPER: &str = r#"{"minimum": 1, "maximum": 1000}"#;
const TEMPERATURE: &str = r#"{"minimum": 0, "maximum": 2}"#;
const TOP_P: &str = r#"{"minimum": 0.01, "maximum": 1}"#;
const FEW: &str = r#"{"minimum": 1, "maximum": 16}"#;
const PROBES: &str = r#"{"minimum": 1, "maximum": 32}"#;
/// A grid has rows of equal length; JSON schema cannot say that.
const GRID: &str = r#"{"type": "array", "minItems": 1, "maxItems": 30, "items": {"type": "array", "minItems": 1,
    "maxItems": 30, "items": {"type": "integer", "minimum": 0, "maximum": 9}}}"#;
const TEXT: &str = concat!(r#"{"type": "string", "minLength": 1, "#, seen!(), "}");
/// 1 second to 30 days.
const LIFETIME: &str = r#"{"pattern": "^0*([1-9][0-9]{0,5}|1[0-9]{6}|2[0-4][0-9]{5}|25[0-8][0-9]{4}|259[01][0-9]{3}|2592000)s$|^0*([1-9][0-9]{0,3}|[1-3][0-9]{4}|4[0-2][0-9]{3}|43[01][0-9]{2}|43200)m$|^0*([1-9][0-9]?|[1-6][0-9]{2}|7[01][0-9]|720)h$|^0*([1-9]|[12][0-9]|30)d$"}"#;
const PROMPT: &str = r#"{"oneOf": [
    {"type": "string", "minLength": 1},
    {"type": "array", "minItems": 1, "maxItems": 64, "items": {"type": "string", "minLength": 1}},
    {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0, "maximum": 4294967295}},
    {"type": "array", "minItems": 1, "maxItems": 64, "items": {"type": "array", "minItems": 1,
        "items": {"type": "integer", "minimum": 0, "maximum": 4294967295}}}]}"#;
const CONTENT: &str = r##"{"oneOf": [
    {"type": "string"},
    {"type": "array", "items": {"$ref": "#/components/schemas/TextPart"}},
    {"type": "null"}]}"##;
/// An answer may have no content.
const MESSAGE: &str = r#"{"anyOf": [
    {"properties": {"role": {"enum": ["assistant"]}}},
    {"required": ["content"], "properties": {"content": {"type": ["string", "array"]}}}]}"#;
const STOP: &str = r#"{"oneOf": [{"type": "string"},
    {"type": "array", "maxItems": 16, "items": {"type": "string", "minLength": 1}}]}"#;

/// Schema, property (none for the schema itself), and what is added to its description.
#[rustfmt::skip]
const BOUNDS: &[(&str, &str, &str)] = &[
    // Chats and completions.
    ("ChatRequest", "messages", r#"{"minItems": 1}"#),
    ("ChatMessage", "role", r#"{"pattern": "^(system|developer|user|assistant)$"}"#),
    ("ChatMessage", "content", CONTENT),
    ("ChatMessage", "", MESSAGE),
    ("CompletionRequest", "prompt", PROMPT),
    ("Stop", "", STOP),
    // Adapters.
    ("LoadRequest", "lora_name", NAME),
    ("LoadRequest", "lora_path", r#"{"minLength": 1}"#),
    ("AdapterBody", "name", NAME),
    ("AdapterBody", "created_at", TIME),
    ("AdapterBody", "updated_at", TIME),
    ("VersionBody", "adapter", NAME),
    ("VersionBody", "created_at", TIME),
    // Jobs and documents.
    ("JobBody", "adapter", NAME),
    ("JobBody", "created_at", TIME),
    ("JobBody", "started_at", TIME),
    ("JobBody", "finished_at", TIME),
    ("Progress", "fraction", SHARE),
    ("DocumentBody", "created_at", TIME),
    ("DocumentBody", "updated_at", TIME),
    ("DocumentItem", "created_at", TIME),
    ("DocumentItem", "score_before", SHARE),
    ("DocumentItem", "score_after", SHARE),
    // Ingest.
    ("IngestRequest", "adapter", NAME),
    ("IngestRequest", "documents", r#"{"minItems": 1}"#),
    ("DocumentInput", "title", TITLE),
    ("DocumentInput", "text", FILLED),
    ("DocumentInput", "questions", r#"{"maxItems": 100}"#),
    ("Question", "question", FILLED),
    ("Question", "answer", FILLED),
    ("SelfEditOptions", "samples", FEW),
    ("SelfEditOptions", "phrases", r#"{"minimum": 1, "maximum": 64}"#),
    ("SelfEditOptions", "temperature", TEMPERATURE),
    ("SelfEditOptions", "top_p", TOP_P),
    ("SelfEditOptions", "policy", REFERENCE),
    ("TrainingOptions", "rank", RANK),
    ("TrainingOptions", "alpha", ALPHA),
    ("TrainingOptions", "learning_rate", RATE),
    ("TrainingOptions", "epochs", EPOCHS),
    ("TrainingOptions", "batch_size", BATCH),
    ("TrainingOptions", "early_stop", EARLY),
    ("TrainingOptions", "lora_plus", RATIO),
    ("TrainingOptions", "upper_layers", UPPER),
    ("TrainingOptions", "replay", r#"{"minimum": 0, "maximum": 10}"#),
    ("TrainingOptions", "stay", r#"{"minimum": 0, "maximum": 0.95}"#),
    ("GateOptions", "min_gain", SHARE),
    ("GateOptions", "retention_budget", SHARE),
    ("GateOptions", "general_budget", SHARE),
    ("GateOptions", "general_probes", r#"{"minimum": 0, "maximum": 100}"#),
    ("GateOptions", "attempts", r#"{"minimum": 1, "maximum": 5}"#),
    ("GateOptions", "probes", PROBES),
    // Adapt.
    ("AdaptRequest", "adapter", NAME),
    ("Budget", "seconds", r#"{"minimum": 1, "maximum": 3600}"#),
    ("Budget", "candidates", FEW),
    ("AdaptKeep", "alias", NAME),
    ("AdaptKeep", "ttl", LIFETIME),
    ("TrainingChoice", "learning_rate", r#"{"minimum": 0.000001, "maximum": 0.01}"#),
    ("TrainingChoice", "num_train_epochs", r#"{"minimum": 1, "maximum": 20}"#),
    // Train.
    ("TrainRequest", "policy", NAME),
    ("TrainRequest", "contexts", r#"{"minItems": 1}"#),
    ("TrainRequest", "rounds", r#"{"minimum": 1, "maximum": 100}"#),
    ("TrainRequest", "contexts_per_round", r#"{"minimum": 1, "maximum": 10000}"#),
    ("TrainRequest", "minutes", r#"{"minimum": 0, "maximum": 10080}"#),
    ("TrainRequest", "candidates", FEW),
    ("TrainRequest", "repeats", FEW),
    ("TrainRequest", "held_out", r#"{"minimum": 0, "maximum": 10000}"#),
    ("TrainRequest", "pack", FEW),
    ("TrainRequest", "probes", PROBES),
    ("ContextInput", "title", TITLE),
    ("ContextInput", "text", FILLED),
    ("ContextInput", "questions", r#"{"maxItems": 100}"#),
    ("InnerOptions", "rank", RANK),
    ("InnerOptions", "alpha", ALPHA),
    ("InnerOptions", "learning_rate", RATE),
    ("InnerOptions", "epochs", EPOCHS),
    ("InnerOptions", "batch_size", BATCH),
    ("InnerOptions", "early_stop", EARLY),
    ("InnerOptions", "lora_plus", RATIO),
    ("InnerOptions", "upper_layers", UPPER),
    ("WritingOptions", "temperature", TEMPERATURE),
    ("WritingOptions", "top_p", TOP_P),
    ("FewShotOptions", "temperature", TEMPERATURE),
    ("FewShotOptions", "sequences", r#"{"minimum": 1, "maximum": 250}"#),
    ("FewShotOptions", "views", FEW),
    ("FewShotOptions", "rank", RANK),
    ("FewShotOptions", "alpha", ALPHA),
    ("FewShotOptions", "batch_size", BATCH),
    ("FewShotOptions", "window", r#"{"minimum": 128, "maximum": 1048576}"#),
];

/// Parameters by name, whatever the route: what is added to their schemas.
#[rustfmt::skip]
const PARAMETERS: &[(&str, &str)] = &[
    ("alias", NAME),
    ("adapter", NAME),
    ("name", NAME),
    ("limit", r#"{"minimum": 1, "maximum": 500}"#),
    // Up to ten minutes.
    ("wait", r#"{"pattern": "^(0*([0-9]{1,5}|[1-5][0-9]{5}|600000)ms|0*([0-9]{1,2}|[1-5][0-9]{2}|600)s|0*([0-9]|10)m)$"}"#),
    ("Idempotency-Key", r#"{"minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"}"#),
    ("Last-Event-ID", r#"{"minimum": 0, "maximum": 9223372036854775807}"#),
];

/// Completes a parameter's schema.
pub fn parameter(path: &str, parameter: &mut Value) {
    // A header, or a part of the address, is there or is not there, but never null.
    if let Some(kind) = parameter.pointer_mut("/schema/type")
        && let Some(kinds) = kind.as_array_mut()
    {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            *kind = only.clone();
        }
    }
    let bound = match parameter["name"].as_str().unwrap_or_default() {
        // The versions of an adapter are numbered.
        "after" if path.ends_with("/versions") => Some(r#"{"pattern": "^[0-9]{1,19}$"}"#),
        name => (PARAMETERS.iter().find(|(known, _)| *known == name)).map(|(_, bound)| *bound),
    };
    if let Some(bound) = bound
        && let Some(schema) = parameter.get_mut("schema").and_then(Value::as_object_mut)
    {
        schema.extend(object(bound));
    }
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).expect("a JSON object")
}

/// Lays the bounds over the schemas.
pub fn lay(schemas: &mut Map<String, Value>) {
    for (schema, property, bound) in BOUNDS {
        let Some(place) = place(schemas, schema, property).and_then(Value::as_object_mut) else {
            continue;
        };
        let bound = object(bound);
        // A type that is told as any object is one of several.
        if bound.contains_key("oneOf") {
            place.remove("type");
        }
        place.extend(bound);
    }
    schemas.insert("TaskBody".to_owned(), task());
    let either = json!({"oneOf": [object(GRID), {"type": "string"}]});
    schemas["AdaptAttempt"]["properties"]["output"] = either;
    // They stand in the task.
    schemas.remove("Demonstration");
    schemas.remove("TestInput");
}

fn place<'s>(
    schemas: &'s mut Map<String, Value>,
    schema: &str,
    property: &str,
) -> Option<&'s mut Value> {
    let schema = schemas.get_mut(schema)?;
    match property.is_empty() {
        true => Some(schema),
        false => schema.get_mut("properties")?.get_mut(property),
    }
}

/// A task of either kind, whose inputs and outputs are all of that kind.
fn task() -> Value {
    let of = |kind: &str, side: &str| {
        let side = Value::Object(object(side));
        let pair = json!({"type": "object", "required": ["input", "output"], "additionalProperties": false,
            "properties": {"input": side, "output": side}});
        let test = json!({"type": "object", "required": ["input"], "additionalProperties": false,
            "properties": {"input": side, "output": {"description": "Accepted, as ARC's files have it; not read"}}});
        json!({"type": "object", "required": ["kind", "train", "test"], "additionalProperties": false,
            "properties": {
                "kind": {"type": "string", "enum": [kind]},
                "train": {"type": "array", "items": pair, "minItems": 1, "maxItems": 32,
                    "description": "The demonstrations"},
                "test": {"type": "array", "items": test, "maxItems": 16,
                    "description": "The test inputs. Without any the result is only the adapter"}}})
    };
    let grids = "Inputs and outputs are lists of rows of numbers, as in ARC; all rows of a grid are equally long";
    let mut grid = of("grid", GRID);
    grid["description"] = grids.into();
    json!({"oneOf": [grid, of("text", TEXT)]})
}

/// A body of bytes is a string to a schema, and not the list of numbers that `Vec<u8>` would be in JSON.
pub fn bytes(value: &mut Value) {
    for (kind, content) in value.as_object_mut().into_iter().flatten() {
        let items = content.pointer("/schema/items/type");
        match kind != "application/json" && items.is_some_and(|kind| kind == "integer") {
            true => content["schema"] = json!({"type": "string", "format": "binary"}),
            false => bytes(content),
        }
    }
}

/// Gives every integer the bounds of its type: `uint64` without a format has none else.
pub fn integers(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(integers),
        Value::Object(map) => {
            map.values_mut().for_each(integers);
            let kind = map.get("type");
            let integer = kind.is_some_and(|kind| match kind {
                Value::Array(kinds) => kinds.iter().any(|kind| kind == "integer"),
                kind => kind == "integer",
            });
            if !integer {
                return;
            }
            let signed = !map.contains_key("minimum");
            let most = match (map.get("format").and_then(Value::as_str), signed) {
                (Some("int32"), true) => json!(i32::MAX),
                (Some("int32"), false) => json!(u32::MAX),
                (_, true) => json!(i64::MAX),
                (_, false) => json!(u64::MAX),
            };
            if signed {
                let least = if most == json!(i32::MAX) {
                    i64::from(i32::MIN)
                } else {
                    i64::MIN
                };
                map.insert("minimum".to_owned(), least.into());
            }
            map.entry("maximum").or_insert(most);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_has_its_place() {
        let mut document = crate::http::openapi();
        let schemas = document["components"]["schemas"].as_object_mut().unwrap();
        for (schema, property, bound) in BOUNDS {
            let found = place(schemas, schema, property);
            let found = found.unwrap_or_else(|| panic!("there is no {schema}.{property}"));
            for (key, value) in object(bound) {
                assert_eq!(found[&key], value, "{schema}.{property}");
            }
        }
    }
}
