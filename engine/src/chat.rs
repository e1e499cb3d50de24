//! The model's own chat template, rendered to tokens so that no message can forge its structure.
//!
//! A template writes control tokens (`<|im_start|>`, `<|im_end|>`) around the messages; a message that contains
//! their spelling must stay text. Before rendering, every such spelling in the caller's strings is broken by a
//! *sentinel*, a private-use character that occurs nowhere else. After rendering the sentinels are removed, and no
//! control token is matched across their positions. A string without such a spelling reaches the template
//! unchanged, so templates that trim, split or compare work as in transformers, and the ids are the reference's.
//!
//! An assistant message may contain markup such as `<think>`, which templates look for. In that role only control
//! tokens are broken.

mod environment;

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use minijinja::Environment;
use minijinja::value::Serde;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` …
    pub role: String,
    pub content: String,
}

impl Message {
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Message {
            role: role.into(),
            content: content.into(),
        }
    }
}

/// A compiled chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Compiles the Jinja source. `bos` and `eos` are the spellings that the template may write itself.
    ///
    /// # Errors
    /// [`Error::Template`] if the source is not valid.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self> {
        let mut environment = environment::new();
        environment
            .add_template_owned(NAME, source.to_string())
            .map_err(failed)?;
        Ok(ChatTemplate {
            environment,
            source: source.into(),
            bos: bos.into(),
            eos: eos.into(),
        })
    }

    /// The Jinja source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The conversation as tokens. `extra` is passed to the template (`enable_thinking`, `tools` …).
    ///
    /// # Errors
    /// [`Error::Input`] names a wrong role, [`Error::Template`] gives the template's own complaint.
    pub fn render_tokens(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        add_generation_prompt: bool,
        extra: &Map<String, Value>,
    ) -> Result<Vec<u32>> {
        let sentinel = self.unused_character(messages, extra);
        let messages: Vec<Message> = messages
            .iter()
            .map(|m| Message {
                role: m.role.clone(),
                content: break_spellings(tokenizer, &m.content, sentinel, m.role == "assistant"),
            })
            .collect();
        let extra = extra
            .iter()
            .map(|(key, value)| (key.clone(), break_value(tokenizer, value, sentinel)))
            .collect();
        let rendered = self.render_text(&messages, add_generation_prompt, &extra)?;
        let mut text = String::with_capacity(rendered.len());
        let mut broken = Vec::new();
        for (i, piece) in rendered.split(sentinel).enumerate() {
            if i > 0 {
                broken.push(text.len()..text.len());
            }
            text.push_str(piece);
        }
        tokenizer.encode_spans(&text, &broken)
    }

    /// The conversation as text, for people to read. Here a spelling inside a message looks like a control token.
    pub fn render_text(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        extra: &Map<String, Value>,
    ) -> Result<String> {
        for message in messages {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if message.role.is_empty() || !message.role.chars().all(plain) {
                return Err(Error::Input(format!(
                    "role {:?} is not a role; use \"system\", \"user\" or \"assistant\"",
                    message.role
                )));
            }
        }
        let mut context = Map::new();
        // transformers always passes these two, and templates compare them with `none`.
        context.insert("tools".into(), Value::Null);
        context.insert("documents".into(), Value::Null);
        context.extend(extra.iter().map(|(k, v)| (k.clone(), v.clone())));
        context.insert("messages".into(), json!(messages));
        context.insert("add_generation_prompt".into(), add_generation_prompt.into());
        context.insert("bos_token".into(), self.bos.clone().into());
        context.insert("eos_token".into(), self.eos.clone().into());
        let template = self.environment.get_template(NAME).map_err(failed)?;
        template.render(Serde(context)).map_err(failed)
    }

    /// A private-use character that occurs neither in the template nor in anything passed to it.
    fn unused_character(&self, messages: &[Message], extra: &Map<String, Value>) -> char {
        let used = |c: char| {
            messages
                .iter()
                .any(|m| m.content.contains(c) || m.role.contains(c))
                || self.source.contains(c)
                || extra
                    .iter()
                    .any(|(key, value)| key.contains(c) || value_contains(value, c))
        };
        let mut private = ('\u{E000}'..='\u{F8FF}').chain('\u{F0000}'..='\u{FFFFD}');
        private
            .find(|c| !used(*c))
            .expect("no input holds all 71,933 private-use characters: windows are far shorter")
    }
}

fn failed(e: minijinja::Error) -> Error {
    // An error inside a filter or function is explained by its cause alone.
    Error::Template(match std::error::Error::source(&e) {
        Some(cause) => format!("{e}: {cause}"),
        None => e.to_string(),
    })
}

/// Puts the sentinel after the first character of every added token's spelling, and at an end of the text that
/// could make a spelling together with the template's neighbouring text.
fn break_spellings(tokenizer: &Tokenizer, text: &str, sentinel: char, keep_markup: bool) -> String {
    let dangerous = |special: bool| special || !keep_markup;
    let mut places = Vec::new();
    let bytes = text.as_bytes();
    for (at, first) in text.char_indices() {
        let rest = &bytes[at..];
        let mut tokens = tokenizer.added().iter().filter(|t| dangerous(t.special));
        if tokens.any(|t| rest.starts_with(t.text.as_bytes())) {
            places.push(at + first.len_utf8());
        }
    }
    // Templates may trim the text, so its ends are those of the trimmed text.
    let start = text.len() - text.trim_start().len();
    let end = text.trim_end().len();
    if start < end {
        let inner = &text[start..end];
        for token in tokenizer.added().iter().filter(|t| dangerous(t.special)) {
            let cuts = || {
                token
                    .text
                    .char_indices()
                    .map(|(i, _)| token.text.split_at(i))
                    .skip(1)
            };
            if cuts().any(|(head, _)| inner.ends_with(head)) {
                places.push(end);
            }
            if cuts().any(|(_, tail)| inner.starts_with(tail)) {
                places.push(start);
            }
        }
    }
    places.sort_unstable();
    places.dedup();
    let mut out = String::with_capacity(text.len() + places.len() * sentinel.len_utf8());
    let mut from = 0;
    for place in places {
        out.push_str(&text[from..place]);
        out.push(sentinel);
        from = place;
    }
    out.push_str(&text[from..]);
    out
}

fn break_value(tokenizer: &Tokenizer, value: &Value, sentinel: char) -> Value {
    match value {
        Value::String(text) => break_spellings(tokenizer, text, sentinel, false).into(),
        Value::Array(list) => list
            .iter()
            .map(|v| break_value(tokenizer, v, sentinel))
            .collect(),
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| {
                (
                    break_spellings(tokenizer, k, sentinel, false),
                    break_value(tokenizer, v, sentinel),
                )
            })
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn value_contains(value: &Value, c: char) -> bool {
    match value {
        Value::String(text) => text.contains(c),
        Value::Array(list) => list.iter().any(|v| value_contains(v, c)),
        Value::Object(map) => map
            .iter()
            .any(|(k, v)| k.contains(c) || value_contains(v, c)),
        _ => false,
    }
}
