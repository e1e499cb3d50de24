//! The messages of a chat: read as clients write them, converted for the chat template.

use super::fields::unsupported;
use crate::http::common::error::Problem;
use autodidact_engine::Message;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

#[derive(Debug, Deserialize, ToSchema)]
pub struct ChatMessage {
    /// `system` (or `developer`), `user` or `assistant`
    role: String,
    /// A string, or a list of `{"type": "text", "text": …}`
    #[serde(default)]
    content: Value,
    #[serde(flatten)]
    #[schema(ignore)]
    rest: Map<String, Value>,
}

impl ChatMessage {
    pub fn new(role: &str, content: &str) -> Self {
        ChatMessage {
            role: role.to_owned(),
            content: content.into(),
            rest: Map::new(),
        }
    }
}

/// Converts all messages. Fails with the first refusal.
pub fn messages(given: Vec<ChatMessage>) -> Result<Vec<Message>, Problem> {
    if given.is_empty() {
        let detail = "messages is empty; send at least one message.";
        return Err(Problem::invalid("messages", detail));
    }
    let numbered = given.into_iter().enumerate();
    numbered.map(|(i, m)| message(i, m)).collect()
}

fn message(index: usize, given: ChatMessage) -> Result<Message, Problem> {
    let at = |field: &str| format!("messages[{index}].{field}");
    let role = match given.role.as_str() {
        "developer" => "system",
        known @ ("system" | "user" | "assistant") => known,
        "tool" | "function" => {
            return Err(unsupported(at("role"), "Tools are not supported."));
        }
        _ => {
            let detail = "The role of a message is system, user or assistant.";
            return Err(Problem::invalid(at("role"), detail));
        }
    };
    for field in ["tool_calls", "function_call", "audio"] {
        if given.rest.get(field).is_some_and(|value| !value.is_null()) {
            return Err(unsupported(
                at(field),
                "Only text is supported in messages.",
            ));
        }
    }
    Ok(Message::new(role, content(at("content"), given.content)?))
}

fn content(field: String, content: Value) -> Result<String, Problem> {
    match content {
        Value::String(text) => Ok(text),
        Value::Array(parts) => {
            let numbered = parts.iter().enumerate();
            numbered.map(|(i, p)| part(&field, i, p)).collect()
        }
        _ => Err(Problem::invalid(
            field,
            "The content of a message is a string or a list of text parts.",
        )),
    }
}

fn part<'p>(field: &str, index: usize, part: &'p Value) -> Result<&'p str, Problem> {
    let at = |leaf: &str| format!("{field}[{index}]{leaf}");
    match part.get("type").and_then(Value::as_str) {
        Some("text") => part
            .get("text")
            .and_then(Value::as_str)
            .ok_or_else(|| Problem::invalid(at(".text"), "The text of a text part is a string.")),
        Some(kind) => Err(unsupported(
            at(".type"),
            &format!("Parts of type '{kind}' are not supported: this model reads text only."),
        )),
        None => Err(Problem::invalid(
            at(""),
            "A part of a message is {\"type\": \"text\", \"text\": …}.",
        )),
    }
}
