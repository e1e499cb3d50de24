//! `autodidact configuration`: all settings as a page of Markdown. `docs/configuration.md` is its output; a test
//! compares the two.
//!
//! The page has two sources, which tests compare with the code: the commented `config/autodidact.toml`, and the
//! schemas of the API's description.

use autodidact::http;
use clap::Args;
use serde_json::Value;
use std::fmt::Write;

const FILE: &str = include_str!("../../config/autodidact.toml");

const HEAD: &str = "# Configuration

<!-- Made by `autodidact configuration`; a test compares. Change config/autodidact.toml or the code, not this page. -->

Settings come from a TOML file, then from environment variables, then from flags; the later wins. The file is the one
named by `--config` (or `AUTODIDACT_CONFIG`), else `./autodidact.toml`, else
`$XDG_CONFIG_HOME/autodidact/autodidact.toml`. An unknown key is an error.
[config/autodidact.toml](../config/autodidact.toml) is such a file, with every key at its default.
";

const LEARNING: &str = "
## Learning settings

The same names stand in three places: under `[learning]` in the file, in the catalogue's entry of a model
(`config/models.toml`), and in a request (`POST /ingest`). A request wins over the file, the file over the catalogue, and
the catalogue over the defaults shown here. The catalogue sets several for the models that were tuned.
";

/// The groups of learning settings, as in the file and in requests, each with its schema.
const GROUPS: [(&str, &str); 3] = [
    ("self_edit", "SelfEditOptions"),
    ("training", "TrainingOptions"),
    ("gate", "GateOptions"),
];

#[derive(Debug, Args)]
pub struct Configuration;

impl Configuration {
    pub fn run(self) -> Result<(), String> {
        print!("{}", page(&http::openapi()));
        Ok(())
    }
}

fn page(api: &Value) -> String {
    let mut page = HEAD.to_owned();
    for section in sections(FILE) {
        if section.keys.is_empty() {
            continue;
        }
        let title = match section.name {
            "" => "The server".to_owned(),
            name => format!("`[{name}]`"),
        };
        let _ = write!(
            page,
            "\n## {title}\n\n| key | default | environment, flag | meaning |\n| --- | --- | --- | --- |\n"
        );
        for key in section.keys {
            let meaning = cell(&key.meaning);
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {meaning} |",
                key.name, key.default, key.outside
            );
        }
    }
    page.push_str(LEARNING);
    for (name, schema) in GROUPS {
        let _ = write!(
            page,
            "\n### `{name}`\n\n| key | default | meaning |\n| --- | --- | --- |\n"
        );
        let schemas = &api["components"]["schemas"];
        for (key, field) in properties(&schemas[schema]) {
            let default = match &field["default"] {
                Value::Null => "none".to_owned(),
                // Convert to f32 first, so that 0.001 has no tail of digits.
                Value::Number(n) if n.is_f64() => {
                    format!("`{}`", n.as_f64().unwrap_or_default() as f32)
                }
                other => format!("`{other}`"),
            };
            let mut meaning = field["description"].as_str().unwrap_or_default().to_owned();
            for choice in choices(field, schemas) {
                let _ = write!(meaning, " {choice}");
            }
            let _ = writeln!(page, "| `{key}` | {default} | {} |", cell(&meaning));
        }
    }
    page
}

struct Section<'a> {
    name: &'a str,
    keys: Vec<Key<'a>>,
}

struct Key<'a> {
    name: &'a str,
    default: String,
    /// The setting's environment variable and flag.
    outside: String,
    meaning: String,
}

/// The keys of the file, with the comments above them. A commented-out key has no default.
fn sections(file: &str) -> Vec<Section<'_>> {
    let mut sections = vec![Section {
        name: "",
        keys: Vec::new(),
    }];
    let mut comment: Vec<&str> = Vec::new();
    for line in file.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            sections.push(Section {
                name,
                keys: Vec::new(),
            });
            // A comment above a section describes its keys.
        } else if let Some((name, value)) = assignment(line) {
            let commented = line.starts_with('#');
            let (meaning, outside) = split(&comment);
            let default = match commented {
                true => "none".to_owned(),
                false => format!("`{value}`"),
            };
            let section = sections.last_mut().expect("one is there from the start");
            section.keys.push(Key {
                name,
                default,
                outside,
                meaning,
            });
            comment.clear();
        } else if let Some(text) = line.strip_prefix('#') {
            comment.push(text.trim());
        } else {
            comment.clear();
        }
    }
    sections
}

/// Parses `key = value`, also if it is commented out.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix("# ").unwrap_or(line);
    let (name, value) = line.split_once(" = ")?;
    let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    is_name.then_some((name, value))
}

/// Splits a comment into its text, and the names of environment variable and flag at its end.
fn split(comment: &[&str]) -> (String, String) {
    let all = comment.join(" ");
    let words: Vec<&str> = all.split_whitespace().collect();
    let is_outside = |w: &&&str| w.starts_with("AUTODIDACT_") || w.starts_with("--");
    let outside = words.iter().rev().take_while(is_outside).count();
    let (meaning, names) = words.split_at(words.len() - outside);
    let names: Vec<String> = names
        .iter()
        .map(|n| format!("`{}`", n.trim_end_matches(',')))
        .collect();
    (meaning.join(" "), names.join(", "))
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

/// The values of an enumeration with their meaning.
fn choices(field: &Value, schemas: &Value) -> Vec<String> {
    let named = field["$ref"].as_str().and_then(|r| r.rsplit('/').next());
    let schema = named.map_or(&Value::Null, |name| &schemas[name]);
    if let Some(names) = schema["enum"].as_array() {
        let names: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
        return vec![format!("One of {}.", names.join(", "))];
    }
    let Some(values) = schema["oneOf"].as_array() else {
        return Vec::new();
    };
    let choice = |value: &Value| {
        let name = value["const"].as_str().or(value["enum"][0].as_str())?;
        let meaning = value["description"].as_str().unwrap_or_default();
        Some(format!("`{name}`: {}.", meaning.trim_end_matches('.')))
    };
    values.iter().filter_map(choice).collect()
}

/// The text as one line with escaped bars, because a bar would end the cell.
fn cell(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}
