//! What the description says about the fields of chats and plain completions: the fields of the request's type, and
//! those of the table in `openai/parameters.rs`. Any other field is accepted only if it asks for nothing.

use crate::http::openai::parameters::{
    FIELDS, MESSAGE, NEUTRAL, PART, Route, Rule, STREAM_OPTIONS,
};
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
    close(&mut schemas["StreamOptions"], STREAM_OPTIONS);
    close(&mut schemas["ChatMessage"], MESSAGE);
    schemas.insert("TextPart".to_owned(), part());
    for name in ["LoadRequest", "UnloadRequest"] {
        schemas[name]["additionalProperties"] = neutral();
    }
    // Its fields stand in the requests now.
    schemas.remove("SamplingFields");
}

/// The schema of a part of a message.
fn part() -> Value {
    let text = json!({"type": "string"});
    let mut part = json!({"type": "object", "required": ["type", "text"],
        "properties": {"type": {"type": "string", "enum": ["text"]}, "text": text}});
    close(&mut part, PART);
    part
}

/// Completes the schema of an object by its table.
fn close(schema: &mut Value, table: &[(&str, Rule)]) {
    schema["additionalProperties"] = neutral();
    let properties = schema["properties"].as_object_mut();
    let properties = properties.expect("an object has fields");
    for (name, rule) in table {
        match rule {
            Rule::Obeyed if !properties.contains_key(*name) => {
                let shown =
                    json!({"type": ["string", "null"], "description": "The chat template gets it"});
                properties.insert((*name).to_owned(), shown);
            }
            _ => describe(properties, name, *rule),
        }
    }
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
