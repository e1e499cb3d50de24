//! The guard of control tokens: breaks their spellings in what the caller sent.

use crate::tokenizer::Tokenizer;
use serde_json::{Map, Value};

/// A private-use character that occurs in none of the texts.
pub(super) fn unused_character(used: impl Fn(char) -> bool) -> char {
    let mut private = ('\u{E000}'..='\u{F8FF}').chain('\u{F0000}'..='\u{FFFFD}');
    private
        .find(|c| !used(*c))
        .expect("no input holds all 71,933 private-use characters: windows are far shorter")
}

pub(super) fn contains(value: &Value, c: char) -> bool {
    match value {
        Value::String(text) => text.contains(c),
        Value::Array(list) => list.iter().any(|v| contains(v, c)),
        Value::Object(map) => map.iter().any(|(k, v)| k.contains(c) || contains(v, c)),
        _ => false,
    }
}

/// Breaks the spellings in all texts of a value, keys too. With `keep_markup` only those of control tokens.
pub(super) fn break_value(
    tokenizer: &Tokenizer,
    value: &Value,
    sentinel: char,
    keep_markup: bool,
) -> Value {
    match value {
        Value::String(text) => break_spellings(tokenizer, text, sentinel, keep_markup).into(),
        Value::Array(list) => list
            .iter()
            .map(|v| break_value(tokenizer, v, sentinel, keep_markup))
            .collect(),
        Value::Object(map) => break_map(tokenizer, map, sentinel, keep_markup).into(),
        other => other.clone(),
    }
}

pub(super) fn break_map(
    tokenizer: &Tokenizer,
    map: &Map<String, Value>,
    sentinel: char,
    keep_markup: bool,
) -> Map<String, Value> {
    let pair = |(key, value): (&String, &Value)| {
        (
            break_spellings(tokenizer, key, sentinel, keep_markup),
            break_value(tokenizer, value, sentinel, keep_markup),
        )
    };
    map.iter().map(pair).collect()
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
