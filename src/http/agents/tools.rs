//! The tools of `/mcp` as agents see them: name, description, and the JSON schema of the arguments.

use crate::http::common::error::Problem;
use rmcp::model::{JsonObject, Tool};
use serde_json::{Value, json};
use std::sync::Arc;

pub struct ToolKind {
    pub name: &'static str,
    description: &'static str,
    arguments: &'static [Argument],
}

struct Argument {
    name: &'static str,
    required: bool,
    schema: fn() -> Value,
}

const fn required(name: &'static str, schema: fn() -> Value) -> Argument {
    Argument {
        name,
        required: true,
        schema,
    }
}

const fn optional(name: &'static str, schema: fn() -> Value) -> Argument {
    Argument {
        name,
        required: false,
        schema,
    }
}

pub const TOOLS: [ToolKind; 5] = [
    ToolKind {
        name: "learn_document",
        description: "Teach an adapter a document permanently. The model writes study notes, trains on them, \
            checks with questions that it has learned the document, and publishes a new version. Takes about a minute.",
        arguments: &[
            required("adapter", || {
                text("The adapter to teach; a new one is made if it does not exist")
            }),
            required("title", || text("The document's title")),
            required("text", || text("The document")),
            optional("questions", || {
                let pair = object(&[
                    ("question", text("A question about the document")),
                    ("answer", text("Its answer")),
                ]);
                json!({"type": "array", "items": pair, "maxItems": 100,
                    "description": "Questions that check the learning"})
            }),
        ],
    },
    ToolKind {
        name: "adapt_from_examples",
        description: "Train an adapter on a few examples of input and right output (corrected mistakes, \
            labelled cases, tool calls), and answer further inputs with it. Takes about a minute.",
        arguments: &[
            required("examples", || {
                let pair = object(&[
                    (
                        "input",
                        text(
                            "An input; a grid as its rows of numbers in JSON, such as [[0,1],[1,0]]",
                        ),
                    ),
                    ("output", text("Its right output, in the same form")),
                ]);
                json!({"type": "array", "items": pair, "minItems": 1, "maxItems": 32,
                    "description": "1 to 32 examples: texts, or grids of numbers from 0 to 9"})
            }),
            optional("inputs", || {
                json!({"type": "array", "items": text("An input, in the form of the examples' inputs"),
                    "maxItems": 16, "description": "Inputs to answer at once"})
            }),
            optional("kind", || {
                json!({"type": "string", "enum": ["text", "grid"],
                    "description": "Kind of the examples; default text"})
            }),
            optional("adapter", || {
                text("Start from this adapter and not from the base")
            }),
            optional("keep_as", || {
                text(
                    "Keep the adapter under this name, as the next version if the name exists. Without it \
                    the adapter is deleted after an hour",
                )
            }),
            optional("seconds", || {
                json!({"type": "number", "minimum": 1, "maximum": 3600,
                    "description": "Time limit in seconds; default 60"})
            }),
        ],
    },
    ToolKind {
        name: "ask",
        description: "Ask the model, or one of its adapters, a question.",
        arguments: &[
            required("question", || text("The question")),
            optional("adapter", || {
                text("An adapter's name, or name@version; default the base model")
            }),
            optional("system", || text("A system message before the question")),
            optional("max_tokens", || {
                json!({"type": "integer", "minimum": 1,
                    "description": "Most tokens of the answer; default 256"})
            }),
        ],
    },
    ToolKind {
        name: "list_knowledge",
        description: "List the adapters with the documents that each has learned, and the unfinished jobs.",
        // Some clients refuse a tool without any argument.
        arguments: &[optional("adapter", || text("List only this adapter"))],
    },
    ToolKind {
        name: "rollback",
        description: "Make an earlier version of an adapter the live one.",
        arguments: &[
            required("adapter", || text("The adapter")),
            required(
                "version",
                || json!({"type": "integer", "minimum": 1, "description": "The version to go back to"}),
            ),
        ],
    },
];

impl ToolKind {
    pub fn described(&self) -> Tool {
        let schema = match self.schema() {
            Value::Object(schema) => schema,
            _ => JsonObject::default(),
        };
        Tool::new(self.name, self.description, Arc::new(schema))
    }

    /// Refuses unknown and missing arguments and wrong types. The workflow checks the values.
    pub fn check(&self, arguments: &JsonObject) -> Result<(), Problem> {
        let known = |name: &String| self.arguments.iter().any(|a| a.name == name);
        if let Some(name) = arguments.keys().find(|name| !known(name)) {
            let detail = format!("{} has no argument '{name}'.", self.name);
            return Err(Problem::invalid(name, detail));
        }
        for argument in self.arguments {
            let given = arguments.get(argument.name).unwrap_or(&Value::Null);
            if argument.required && given.is_null() {
                let detail = format!("{} needs the argument '{}'.", self.name, argument.name);
                return Err(Problem::invalid(argument.name, detail));
            }
            let wanted = (argument.schema)();
            let fits = match wanted["type"].as_str() {
                Some("string") => given.is_string(),
                Some("array") => given.is_array(),
                Some("integer") => given.is_u64(),
                Some("number") => given.is_number(),
                _ => true,
            };
            if !given.is_null() && !fits {
                let detail = format!("{} has to be of type {}.", argument.name, wanted["type"]);
                return Err(Problem::invalid(argument.name, detail));
            }
        }
        Ok(())
    }

    fn schema(&self) -> Value {
        let properties = self.arguments.iter();
        let properties: JsonObject = properties
            .map(|a| (a.name.to_owned(), (a.schema)()))
            .collect();
        let required = self.arguments.iter().filter(|a| a.required);
        let required: Vec<&str> = required.map(|a| a.name).collect();
        json!({"type": "object", "properties": properties, "required": required,
            "additionalProperties": false})
    }
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

/// An object that has exactly these properties.
fn object(properties: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = properties.iter().map(|(name, _)| *name).collect();
    let properties = properties
        .iter()
        .map(|(name, value)| (name.to_string(), value.clone()));
    json!({"type": "object", "properties": properties.collect::<JsonObject>(), "required": names,
        "additionalProperties": false})
}
