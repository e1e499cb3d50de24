//! What the description says about the fields of chats and plain completions: the fields of the request's type, and
//! those of the table in `openai/parameters.rs`. Any other field is accepted only if it asks for nothing.

use crate::http::openai::parameters::{FIELDS, NEUTRAL, Route, Rule, STREAM_OPTIONS};
use serde_json::{Map, Value, json};

/// Completes the two requests among the schemas.
pub fn complete(schemas: &mut Map<String, Value>) {
    for (name, route) in [
        ("ChatRequest", Route::Chat),
        ("CompletionRequest", Route::Completions),
    ] {
        let mut request = joined(&schemas[name], schemas);
        let properties = request["properties"].as_object_mut();
        let properties = properties.expect("a request has fields");
        for field in FIELDS {
            describe(properties, field.name, field.rule(route));
        }
        schemas.insert(name.to_owned(), request);
    }
    let options = &mut schemas["StreamOptions"];
    options["additionalProperties"] = neutral();
    if let Some(properties) = options.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, rule) in STREAM_OPTIONS {
            describe(properties, name, *rule);
        }
    }
    for name in ["LoadRequest", "UnloadRequest"] {
        schemas[name]["additionalProperties"] = neutral();
    }
    // Its fields stand in the requests now.
    schemas.remove("SamplingFields");
}

/// One object of the parts that a flattened type consists of.
fn joined(schema: &Value, schemas: &Map<String, Value>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in schema["allOf"].as_array().into_iter().flatten() {
        let name = part["$ref"].as_str().and_then(|r| r.rsplit('/').next());
        let part = name.map_or(part, |name| &schemas[name]);
        properties.extend(
            part["properties"]
                .as_object()
                .into_iter()
                .flatten()
                .map(owned),
        );
        required.extend(part["required"].as_array().into_iter().flatten().cloned());
    }
    json!({"type": "object", "properties": properties, "required": required,
        "additionalProperties": neutral()})
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

fn describe(properties: &mut Map<String, Value>, name: &str, rule: Rule) {
    let described = match rule {
        Rule::Obeyed | Rule::Unknown => return,
        Rule::Label => json!({"description": "Accepted; it cannot change the answer"}),
        Rule::Refused(harmless, sentence) => {
            json!({"enum": values(harmless.iter().chain(&["null"])), "description": sentence})
        }
    };
    properties.insert(name.to_owned(), described);
}

fn neutral() -> Value {
    json!({"enum": values(NEUTRAL.iter())})
}

fn values<'a>(texts: impl Iterator<Item = &'a &'a str>) -> Vec<Value> {
    texts
        .map(|text| serde_json::from_str(text).expect("a JSON text"))
        .collect()
}
