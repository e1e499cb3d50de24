//! The messages of a chat: read as clients write them, converted for the chat template.

use super::fields::{check, screen, unsupported};
use super::parameters::{MESSAGE, PART, rule_of};
use crate::http::common::error::Problem;
use autodidact_engine::Message;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

#[derive(Debug, ToSchema)]
pub struct ChatMessage {
    /// `system` (or `developer`), `user` or `assistant`
    role: String,
    /// A string, or a list of `{"type": "text", "text": …}`
    #[schema(required = false)]
    content: Value,
    /// All fields in the client's order, which the chat template sees; `role` and `content` only hold their places.
    #[schema(ignore)]
    fields: Map<String, Value>,
}

impl<'de> Deserialize<'de> for ChatMessage {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut fields = Map::deserialize(from)?;
        let mut take = |name| fields.get_mut(name).map(Value::take);
        let role = match take("role") {
            Some(Value::String(role)) => role,
            Some(_) => return Err(D::Error::custom("the role of a message is a string")),
            None => return Err(D::Error::missing_field("role")),
        };
        let content = take("content").unwrap_or_default();
        Ok(ChatMessage {
            role,
            content,
            fields,
        })
    }
}

impl ChatMessage {
    pub fn new(role: &str, content: &str) -> Self {
        ChatMessage {
            role: role.to_owned(),
            content: content.into(),
            fields: Map::new(),
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
    let mut fields = given.fields;
    screen(&at(""), &mut fields, |name| rule_of(MESSAGE, name))?;
    if let Some((name, _)) = fields.iter().find(|(_, v)| !v.is_null() && !v.is_string()) {
        return Err(Problem::invalid(at(name), format!("{name} is a string.")));
    }
    let mut message = match given.content {
        Value::String(text) => Message::new(role, text),
        Value::Array(parts) => {
            let numbered = parts.iter().enumerate();
            let texts = numbered.map(|(i, p)| part(&at("content"), i, p).map(str::to_owned));
            Message::in_parts(role, texts.collect::<Result<_, _>>()?)
        }
        // An answer that was nothing but calls, or was cut off at once: an empty turn.
        Value::Null if role == "assistant" => Message::new(role, ""),
        _ => {
            return Err(Problem::invalid(
                at("content"),
                "The content of a message is a string or a list of text parts.",
            ));
        }
    };
    message.fields = fields;
    Ok(message)
}

fn part<'p>(field: &str, index: usize, part: &'p Value) -> Result<&'p str, Problem> {
    let at = |leaf: &str| format!("{field}[{index}]{leaf}");
    match part.get("type").and_then(Value::as_str) {
        Some("text") => {
            if let Some(fields) = part.as_object() {
                check(&at("."), fields, |name| rule_of(PART, name))?;
            }
            let text = part.get("text").and_then(Value::as_str);
            let detail = "The text of a text part is a string.";
            text.ok_or_else(|| Problem::invalid(at(".text"), detail))
        }
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
