//! A message of a conversation, and what a template sees of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` …
    pub role: String,
    /// The whole text.
    pub content: String,
    /// The parts that the content came in, if it did; `content` is all of them. A template that reads
    /// parts gets them as `{"type": "text", "text": …}`, every other one gets the whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// All other fields, as `name` or `reasoning_content`. Where `role` and `content` stand among them, they stand in
    /// the message that a template sees; otherwise they come first.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl Message {
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message {
            role: role.into(),
            content: content.into(),
            parts: Vec::new(),
            fields: Map::new(),
        }
    }

    /// A message whose content came in parts.
    pub fn in_parts(role: impl Into<String>, parts: Vec<String>) -> Self {
        Message {
            parts: parts.clone(),
            ..Message::new(role, parts.concat())
        }
    }

    pub(super) fn to_map(&self, reads_parts: bool) -> Map<String, Value> {
        let mut map = Map::new();
        let own = ["role", "content"];
        for key in own.iter().filter(|key| !self.fields.contains_key(**key)) {
            map.insert((*key).to_owned(), Value::Null);
        }
        map.extend(self.fields.clone());
        let part = |text: &String| json!({"type": "text", "text": text});
        let content = match reads_parts && !self.parts.is_empty() {
            true => self.parts.iter().map(part).collect(),
            false => Value::from(self.content.clone()),
        };
        // Values of present keys: their places stay.
        map.insert("role".to_owned(), self.role.clone().into());
        map.insert("content".to_owned(), content);
        map
    }
}

/// The names of a message's reasoning. The first is the one that most templates read.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The message as transformers passes it on: without keys whose value is null, and with its reasoning under the two
/// names that templates read.
pub(super) fn normalised(message: Map<String, Value>) -> Map<String, Value> {
    let kept = message.into_iter().filter(|(_, value)| !value.is_null());
    let message: Map<String, Value> = kept.collect();
    let Some(reasoning) = REASONING
        .iter()
        .find_map(|name| message.get(*name))
        .cloned()
    else {
        return message;
    };
    let mut named = Map::new();
    named.insert("thinking".to_owned(), reasoning.clone());
    named.extend(message);
    named.insert("reasoning_content".to_owned(), reasoning);
    named
}

/// What [`mark_end`] leaves at the place where the answer goes on.
const TAG: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// Marks the end of a field of the last message. Gives the text before the mark, or what is wrong.
pub(super) fn mark_end(
    messages: &mut [Map<String, Value>],
    field: &str,
    source: &str,
) -> Result<String, String> {
    let last = messages.last_mut().ok_or("there is no message")?;
    let Some(text) = last.get(field).cloned() else {
        return Err(format!("the last message has no {field:?} to continue"));
    };
    let fields: Vec<&str> = match REASONING.contains(&field) {
        true => {
            let same = |name: &&str| last.get(*name) == Some(&text);
            REASONING.into_iter().filter(same).collect()
        }
        false => vec![field],
    };
    if !fields.iter().any(|field| source.contains(*field)) {
        return Err(format!("the chat template does not read {field:?}"));
    }
    let marked = |text: &str| Value::from(format!("{text}{TAG}"));
    match text {
        Value::String(text) => {
            for field in fields {
                last.insert(field.to_owned(), marked(&text));
            }
            Ok(text)
        }
        Value::Array(_) => {
            let parts = last.get_mut(field).and_then(Value::as_array_mut);
            let texts = parts.into_iter().flatten().rev();
            let part = texts.filter_map(|part| part.get_mut("text")).next();
            let part = part.ok_or("the last message has no text to continue")?;
            let text = part.as_str().unwrap_or_default().to_owned();
            *part = marked(&text);
            Ok(text)
        }
        _ => Err(format!("{field:?} of the last message is no text")),
    }
}

/// Cuts a rendered text at the mark, as transformers does: a template that trims the text trims its end here.
pub(super) fn cut_at_mark(mut rendered: String, text: &str) -> Result<String, String> {
    let tag = TAG.trim_end();
    let at = rendered
        .rfind(tag)
        .filter(|_| rendered.contains(text.trim()));
    let at = at.ok_or("the chat template leaves out the end of the last message")?;
    let whole = rendered[at..].starts_with(TAG);
    rendered.truncate(at);
    if !whole {
        rendered.truncate(rendered.trim_end_matches(super::python::space).len());
    }
    Ok(rendered)
}
