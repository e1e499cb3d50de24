//! The statuses that each operation can answer with, and the shape of the refusals among them.

use serde_json::{Value, json};

/// Operations that the present state of the server may forbid.
const CONFLICTS: [&str; 10] = [
    "post /adapt",
    "post /adapters",
    "post /adapters/{alias}/rollback",
    "delete /adapters/{alias}",
    "delete /documents/{id}",
    "post /ingest",
    "post /jobs/{id}/cancel",
    "post /jobs/{id}/pause",
    "post /jobs/{id}/resume",
    "post /train",
];

/// Operations with a queue that may be full.
const QUEUED: [&str; 7] = [
    "delete /documents/{id}",
    "post /adapt",
    "post /adapters",
    "post /ingest",
    "post /train",
    "post /v1/chat/completions",
    "post /v1/completions",
];

/// Operations whose body or query may name something that does not exist.
const NAMING: [&str; 7] = [
    "get /jobs",
    "post /adapt",
    "post /ingest",
    "post /train",
    "post /v1/chat/completions",
    "post /v1/completions",
    "post /v1/unload_lora_adapter",
];

/// Adds its refusals to an operation.
pub fn refuse(path: &str, method: &str, operation: &mut Value) {
    let openai = path.starts_with("/v1/");
    let name = format!("{method} {path}");
    let here = |list: &[&str]| list.contains(&name.as_str());
    let body = operation.get("requestBody").is_some();
    let parameters = operation["parameters"].as_array().map_or(0, Vec::len);
    let probe = ["/livez", "/readyz"].contains(&path);
    let mut statuses = vec![
        (500, "The server failed; its log says why"),
        (503, "Not ready"),
    ];
    if !probe {
        statuses.push((401, "No key, or an unknown one"));
        statuses.push((403, "Without keys: not from this machine's own pages"));
    }
    if body || (openai && parameters > 0) {
        statuses.push((400, "Not well-formed, or not supported"));
    }
    if body {
        statuses.push((413, "The body is too large"));
        statuses.push((415, "The body is of a type that is not understood here"));
    }
    if (body || parameters > 0) && !openai {
        statuses.push((422, "A field has a wrong value"));
    }
    if path.contains('{') || here(&NAMING) {
        statuses.push((404, "There is no such thing"));
    }
    if here(&CONFLICTS) {
        statuses.push((409, "The present state forbids it"));
    }
    if here(&QUEUED) {
        statuses.push((429, "A queue is full"));
    }
    let responses = operation["responses"].as_object_mut();
    let responses = responses.expect("every operation has answers");
    for (status, description) in statuses {
        responses.insert(status.to_string(), refusal(status, description, openai));
    }
}

/// OpenAI's shape under `/v1/`, RFC 9457 elsewhere.
fn refusal(status: u16, description: &str, openai: bool) -> Value {
    let (schema, kind) = match openai {
        true => ("OpenAiErrorBody", "application/json"),
        false => ("ProblemBody", "application/problem+json"),
    };
    let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
    let mut answer = json!({"description": description, "content": {kind: {"schema": schema}}});
    let seconds = json!({"type": "integer", "minimum": 1});
    let header = |description: &str, required: bool, schema: Value| json!({"description": description, "required": required, "schema": schema});
    let (name, header) = match status {
        401 => {
            let scheme = json!({"type": "string", "pattern": "^Bearer "});
            (
                "WWW-Authenticate",
                header("How to send a key", true, scheme),
            )
        }
        429 => ("Retry-After", header("Seconds to wait", true, seconds)),
        503 => ("Retry-After", header("Seconds to wait", false, seconds)),
        _ => return answer,
    };
    answer["headers"] = json!({name: header});
    answer
}
