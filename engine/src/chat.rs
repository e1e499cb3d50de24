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
//!
//! The text is that of transformers 5.24's `apply_chat_template`, byte for byte: `engine/tests/fixtures/templates.json`
//! has what it makes of some six hundred templates, and `recorded_tests.rs` compares.

mod arguments;
mod clock;
mod environment;
mod filters;
mod formatting;
mod guard;
mod json;
mod message;
mod methods;
mod python;
#[cfg(test)]
mod recorded_tests;
mod source;
mod strings;
mod values;

pub use message::Message;

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use clock::Instant;
use minijinja::Environment;
use minijinja::value::Serde;
use serde_json::{Map, Value, json};

/// A compiled chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    /// `bos_token`, `eos_token` … and their spellings.
    special: Map<String, Value>,
    /// Whether it reads a content of several parts.
    reads_parts: bool,
}

const NAME: &str = "chat_template";

/// What a template is given besides the messages.
#[derive(Clone, Copy)]
struct Wish<'a> {
    add_generation_prompt: bool,
    /// The field of the last message that the answer goes on with.
    continued: Option<&'a str>,
    extra: &'a Map<String, Value>,
    /// The sentinel, which no filter may escape.
    kept: Option<char>,
    now: Instant,
}

impl ChatTemplate {
    /// Compiles the Jinja source. `bos` and `eos` are the spellings that the template may write itself; an empty one
    /// stands for none.
    ///
    /// # Errors
    /// [`Error::Template`] if the source is not valid.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self> {
        let named = [("bos_token", bos), ("eos_token", eos)].into_iter();
        let given = named.filter(|(_, spelling)| !spelling.is_empty());
        let special = given.map(|(name, spelling)| (name.to_owned(), spelling.to_owned()));
        Self::with_special_tokens(source, special)
    }

    /// [`ChatTemplate::new`] with any special tokens: their names (`pad_token`) and spellings.
    pub fn with_special_tokens(
        source: &str,
        special: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut environment = environment::new();
        environment
            .add_template_owned(NAME, source::rewrite(source))
            .map_err(failed)?;
        let pairs = special.into_iter().map(|(name, text)| (name, text.into()));
        let mut template = ChatTemplate {
            environment,
            source: source.into(),
            special: pairs.collect(),
            reads_parts: false,
        };
        template.reads_parts = template.shows_parts();
        Ok(template)
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
        let wish = Wish::new(add_generation_prompt, None, extra);
        self.tokens(tokenizer, messages, wish)
    }

    /// The conversation as tokens, open at the end of a field of its last message (`content`), which the answer goes on
    /// with.
    ///
    /// # Errors
    /// As [`ChatTemplate::render_tokens`]; [`Error::Input`] also if there is nothing to continue.
    pub fn continue_tokens(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        field: &str,
        extra: &Map<String, Value>,
    ) -> Result<Vec<u32>> {
        let wish = Wish::new(false, Some(field), extra);
        self.tokens(tokenizer, messages, wish)
    }

    /// The conversation as text, for people to read. Here a spelling inside a message looks like a control token.
    pub fn render_text(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        extra: &Map<String, Value>,
    ) -> Result<String> {
        let wish = Wish::new(add_generation_prompt, None, extra);
        self.text(self.maps(messages)?, wish)
    }

    fn tokens(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        wish: Wish<'_>,
    ) -> Result<Vec<u32>> {
        let messages = self.maps(messages)?;
        let in_map = |map: &Map<String, Value>, c: char| {
            let mut pairs = map.iter();
            pairs.any(|(key, value)| key.contains(c) || guard::contains(value, c))
        };
        let sentinel = guard::unused_character(|c| {
            self.source.contains(c)
                || messages.iter().any(|m| in_map(m, c))
                || in_map(wish.extra, c)
        });
        let messages = messages.iter().map(|message| {
            let keep_markup = message["role"] == "assistant";
            guard::break_map(tokenizer, message, sentinel, keep_markup)
        });
        let extra = guard::break_map(tokenizer, wish.extra, sentinel, false);
        let wish = Wish {
            extra: &extra,
            kept: Some(sentinel),
            ..wish
        };
        let rendered = self.text(messages.collect(), wish)?;
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

    /// The messages as the template sees them, if their roles are such.
    fn maps(&self, messages: &[Message]) -> Result<Vec<Map<String, Value>>> {
        for message in messages {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if message.role.is_empty() || !message.role.chars().all(plain) {
                return Err(Error::Input(format!(
                    "role {:?} is not a role; use \"system\", \"user\" or \"assistant\"",
                    message.role
                )));
            }
        }
        let maps = messages.iter().map(|m| m.to_map(self.reads_parts));
        Ok(maps.collect())
    }

    fn text(&self, messages: Vec<Map<String, Value>>, wish: Wish<'_>) -> Result<String> {
        let unfit = |reason: String| Error::Input(format!("continue_final_message: {reason}"));
        let normalised = messages.into_iter().map(message::normalised);
        let mut messages: Vec<Map<String, Value>> = normalised.collect();
        let continued = wish.continued.map(|field| {
            let marked = message::mark_end(&mut messages, field, &self.source);
            marked.map_err(unfit)
        });
        let continued = continued.transpose()?;
        let mut context = Map::new();
        // transformers always passes these two, and templates compare them with `none`.
        context.insert("tools".into(), Value::Null);
        context.insert("documents".into(), Value::Null);
        context.extend(self.special.clone());
        context.extend(wish.extra.iter().map(|(k, v)| (k.clone(), v.clone())));
        context.insert("messages".into(), json!(messages));
        let prompt = wish.add_generation_prompt;
        context.insert("add_generation_prompt".into(), prompt.into());
        context.insert(environment::SECONDS.into(), wish.now.seconds.into());
        let microseconds = wish.now.microseconds;
        context.insert(environment::MICROSECONDS.into(), microseconds.into());
        let kept = wish.kept.map(String::from);
        context.insert(environment::KEPT.into(), json!(kept));
        let template = self.environment.get_template(NAME).map_err(failed)?;
        let rendered = template.render(Serde(context)).map_err(failed)?;
        match continued {
            Some(text) => message::cut_at_mark(rendered, &text).map_err(unfit),
            None => Ok(rendered),
        }
    }

    /// Whether the template writes the texts of parts, and not the list as Python spells it.
    fn shows_parts(&self) -> bool {
        const MARK: &str = "the text of a part";
        let trial = Message::in_parts("user", vec![MARK.into()]).to_map(true);
        let none = Map::new();
        let rendered = self.text(vec![trial], Wish::new(false, None, &none));
        rendered.is_ok_and(|text| text.contains(MARK) && !text.contains("'text':"))
    }
}

impl<'a> Wish<'a> {
    fn new(
        add_generation_prompt: bool,
        continued: Option<&'a str>,
        extra: &'a Map<String, Value>,
    ) -> Self {
        Wish {
            add_generation_prompt,
            continued,
            extra,
            kept: None,
            now: Instant::now(),
        }
    }
}

fn failed(e: minijinja::Error) -> Error {
    // An error inside a filter or function is explained by its cause alone.
    Error::Template(match std::error::Error::source(&e) {
        Some(cause) => format!("{e}: {cause}"),
        None => e.to_string(),
    })
}
