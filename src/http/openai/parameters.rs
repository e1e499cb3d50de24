//! The table of request fields for chats and plain completions: which are obeyed, and what happens to all others.
//!
//! OpenAI's clients and vLLM's send many fields. A field that cannot change the answer is a label and is ignored. A
//! field that could change the answer and is not implemented is refused by name, unless its value asks for nothing.
//! The table is also what `openapi.json` says about these fields (`docs/requests.rs`).

use Rule::{Label, Obeyed, Refused, Unknown};

/// The route that a field is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    Chat,
    Completions,
}

#[derive(Debug, Clone, Copy)]
pub enum Rule {
    /// The route reads the field.
    Obeyed,
    /// No value changes the answer.
    Label,
    /// Only null and these values are accepted (as JSON texts); the sentence refuses all others.
    Refused(&'static [&'static str], &'static str),
    /// Only values that ask for nothing are accepted: [`NEUTRAL`].
    Unknown,
}

/// Values that ask for nothing whatever the field means, as JSON texts.
pub const NEUTRAL: [&str; 5] = ["null", "false", "\"\"", "[]", "{}"];

pub struct Field {
    pub name: &'static str,
    pub chat: Rule,
    pub completions: Rule,
}

impl Field {
    pub fn rule(&self, route: Route) -> Rule {
        match route {
            Route::Chat => self.chat,
            Route::Completions => self.completions,
        }
    }
}

const fn both(name: &'static str, rule: Rule) -> Field {
    each(name, rule, rule)
}

const fn each(name: &'static str, chat: Rule, completions: Rule) -> Field {
    Field {
        name,
        chat,
        completions,
    }
}

const TOOLS: &str = "Tools are not supported.";
const FUNCTIONS: &str = "Functions are not supported.";
const GUIDED: &str = "Guided decoding is not supported.";
const MEDIA: &str = "Only text is supported.";

pub const FIELDS: &[Field] = &[
    // Obeyed.
    both("model", Obeyed),
    each("messages", Obeyed, Unknown),
    each("prompt", Unknown, Obeyed),
    both("max_tokens", Obeyed),
    each(
        "max_completion_tokens",
        Obeyed,
        Refused(&[], "A plain completion has max_tokens."),
    ),
    both("stream", Obeyed),
    both("stream_options", Obeyed),
    both("logprobs", Obeyed),
    each(
        "top_logprobs",
        Obeyed,
        Refused(&["0"], "A plain completion has the number in logprobs."),
    ),
    both("temperature", Obeyed),
    both("top_p", Obeyed),
    both("top_k", Obeyed),
    both("n", Obeyed),
    both("seed", Obeyed),
    both("stop", Obeyed),
    both("frequency_penalty", Obeyed),
    both("presence_penalty", Obeyed),
    both("repetition_penalty", Obeyed),
    both("ignore_eos", Obeyed),
    both("return_tokens_as_token_ids", Obeyed),
    each("chat_template_kwargs", Obeyed, Unknown),
    each(
        "add_generation_prompt",
        Obeyed,
        Refused(
            &["true", "false"],
            "A plain completion has no chat template.",
        ),
    ),
    each(
        "reasoning_effort",
        Obeyed,
        Refused(&["\"none\""], "A plain completion has no reasoning to set."),
    ),
    // Labels, and fields about the request's way, price or storage.
    both("user", Label),
    both("store", Label),
    both("metadata", Label),
    both("safety_identifier", Label),
    both("service_tier", Label),
    both("prompt_cache_key", Label),
    both("prompt_cache_options", Label),
    both("prompt_cache_retention", Label),
    both("request_id", Label),
    both("session_id", Label),
    both("stream_interval", Label),
    // They qualify fields that are refused, and alone do nothing.
    both("parallel_tool_calls", Label),
    both("guided_decoding_backend", Label),
    both("guided_whitespace_pattern", Label),
    both("truncation_side", Label),
    both("return_mm_kwargs", Label),
    both("routed_experts_prompt_start", Label),
    // OpenAI's.
    both("tools", Refused(&["[]"], TOOLS)),
    both(
        "tool_choice",
        Refused(&["\"none\"", "\"auto\"", "\"\""], TOOLS),
    ),
    both("functions", Refused(&["[]"], FUNCTIONS)),
    both(
        "function_call",
        Refused(&["\"none\"", "\"auto\"", "\"\""], FUNCTIONS),
    ),
    both(
        "response_format",
        Refused(
            &["{\"type\": \"text\"}", "{}"],
            "Only the response format 'text' is supported.",
        ),
    ),
    both(
        "logit_bias",
        Refused(&["{}", "[]"], "logit_bias is not supported."),
    ),
    both("modalities", Refused(&["[\"text\"]", "[]"], MEDIA)),
    both("audio", Refused(&[], "Audio is not supported.")),
    both(
        "prediction",
        Refused(&[], "Predicted outputs are not supported."),
    ),
    both(
        "web_search_options",
        Refused(&[], "Web search is not supported."),
    ),
    both("moderation", Refused(&[], "Moderation is not supported.")),
    both(
        "verbosity",
        Refused(
            &["\"medium\"", "\"\""],
            "verbosity is not supported; ask for a length in a message.",
        ),
    ),
    both(
        "best_of",
        Refused(&["1"], "best_of is not supported; ask for n and choose."),
    ),
    both("echo", Refused(&["false"], "echo is not supported.")),
    both("suffix", Refused(&["\"\""], "suffix is not supported.")),
    // vLLM's, and those of servers like it.
    both(
        "continue_final_message",
        Refused(
            &["false"],
            "continue_final_message is not supported; see /v1/completions.",
        ),
    ),
    both(
        "include_reasoning",
        Refused(
            &["true"],
            "Reasoning is a part of the text; include_reasoning cannot leave it out.",
        ),
    ),
    both(
        "thinking_token_budget",
        Refused(&["-1"], "thinking_token_budget is not supported."),
    ),
    both(
        "documents",
        Refused(
            &["[]"],
            "documents is not supported; give the template's own variable in chat_template_kwargs.",
        ),
    ),
    both(
        "chat_template",
        Refused(&["\"\""], "The model's own chat template is used."),
    ),
    each(
        "add_special_tokens",
        Refused(&["false"], "The chat template writes all special tokens."),
        Refused(
            &["true"],
            "A text gets the model's first token; send token ids to go without.",
        ),
    ),
    both("guided_json", Refused(&[], GUIDED)),
    both("guided_regex", Refused(&["\"\""], GUIDED)),
    both("guided_choice", Refused(&["[]"], GUIDED)),
    both("guided_grammar", Refused(&["\"\""], GUIDED)),
    both("structural_tag", Refused(&["\"\""], GUIDED)),
    both("structured_outputs", Refused(&["{}"], GUIDED)),
    both("grammar", Refused(&["\"\""], GUIDED)),
    both("json_schema", Refused(&[], GUIDED)),
    both("min_p", Refused(&["0"], "min_p is not supported.")),
    both(
        "min_tokens",
        Refused(&["0"], "min_tokens is not supported."),
    ),
    both(
        "stop_token_ids",
        Refused(&["[]"], "stop_token_ids is not supported; use stop."),
    ),
    both(
        "include_stop_str_in_output",
        Refused(&["false"], "The text never contains a stop string."),
    ),
    both("bad_words", Refused(&["[]"], "bad_words is not supported.")),
    both(
        "allowed_token_ids",
        Refused(&["[]"], "allowed_token_ids is not supported."),
    ),
    both(
        "use_beam_search",
        Refused(&["false"], "Beam search is not supported."),
    ),
    both(
        "length_penalty",
        Refused(&["1"], "length_penalty is not supported."),
    ),
    both(
        "early_stopping",
        Refused(&["false"], "Beam search is not supported."),
    ),
    both(
        "watermarking",
        Refused(&["false"], "watermarking is not supported."),
    ),
    both(
        "skip_special_tokens",
        Refused(&["true"], "Special tokens are not shown in the text."),
    ),
    both(
        "spaces_between_special_tokens",
        Refused(&["true"], "Special tokens are not shown in the text."),
    ),
    both(
        "truncate_prompt_tokens",
        Refused(
            &[],
            "A prompt is not truncated; one that does not fit is refused.",
        ),
    ),
    both(
        "prompt_logprobs",
        Refused(&[], "The log-probabilities of a prompt are not supported."),
    ),
    both(
        "logprob_token_ids",
        Refused(&["[]"], "logprob_token_ids is not supported."),
    ),
    both(
        "logits_processors",
        Refused(&["[]"], "logits_processors is not supported."),
    ),
    both(
        "repetition_detection",
        Refused(&["{}"], "repetition_detection is not supported."),
    ),
    both(
        "return_token_ids",
        Refused(
            &["false"],
            "return_token_ids is not supported; see return_tokens_as_token_ids.",
        ),
    ),
    both(
        "return_token_offsets",
        Refused(&["false"], "return_token_offsets is not supported."),
    ),
    both(
        "return_prompt_text",
        Refused(&["false"], "return_prompt_text is not supported."),
    ),
    both(
        "priority",
        Refused(&["0"], "Requests are answered in their order."),
    ),
    both(
        "cache_salt",
        Refused(&["\"\""], "The prefix cache has no salt."),
    ),
    both(
        "prompt_embeds",
        Refused(&["\"\"", "[]"], "prompt_embeds is not supported."),
    ),
    both("media_io_kwargs", Refused(&["{}"], MEDIA)),
    both("mm_processor_kwargs", Refused(&["{}"], MEDIA)),
    both(
        "kv_transfer_params",
        Refused(&["{}"], "Keys and values are not transferred."),
    ),
    both(
        "ec_transfer_params",
        Refused(&["{}"], "Keys and values are not transferred."),
    ),
    both(
        "vllm_xargs",
        Refused(&["{}"], "vllm_xargs is not supported."),
    ),
];

/// The fields of `stream_options`.
pub const STREAM_OPTIONS: &[(&str, Rule)] = &[
    ("include_usage", Obeyed),
    // Padding against an observer of the chunks' sizes. The chunks are never padded here.
    ("include_obfuscation", Label),
    (
        "continuous_usage_stats",
        Refused(&["false"], "The usage comes once, at the end."),
    ),
];

const CONTINUED: &str = "A message is not continued; see /v1/completions.";
const CALLS: &str = "Only text is supported in messages.";

/// The fields of a message. The chat template gets those that are obeyed.
pub const MESSAGE: &[(&str, Rule)] = &[
    ("role", Obeyed),
    ("content", Obeyed),
    ("name", Obeyed),
    ("reasoning_content", Obeyed),
    ("reasoning", Obeyed),
    ("thinking", Obeyed),
    ("tool_call_id", Obeyed),
    ("tool_calls", Refused(&["[]"], CALLS)),
    ("function_call", Refused(&[], CALLS)),
    ("audio", Refused(&[], CALLS)),
    (
        "refusal",
        Refused(
            &["\"\""],
            "A refusal is sent as the content of its message.",
        ),
    ),
    // The sources of an earlier answer.
    ("annotations", Label),
    // What other servers keep of a prompt.
    ("cache_control", Label),
    // By these other servers go on with the last message.
    ("prefix", Refused(&["false"], CONTINUED)),
    ("partial", Refused(&["false"], CONTINUED)),
];

/// The fields of a part of a message.
pub const PART: &[(&str, Rule)] = &[
    ("type", Obeyed),
    ("text", Obeyed),
    ("annotations", Label),
    ("cache_control", Label),
    ("prompt_cache_breakpoint", Label),
];

/// The rule of a field of vLLM's routes for adapters.
pub fn lora_rule(name: &str) -> Rule {
    match name {
        "lora_name" | "lora_path" => Obeyed,
        // vLLM's own number of the adapter.
        "lora_int_id" => Label,
        "load_inplace" => Refused(
            &["false"],
            "An adapter is not replaced in place; unload it first, or publish a version by POST /adapters.",
        ),
        "is_3d_lora_weight" => Refused(&["false"], "Weights of experts are not supported."),
        _ => Unknown,
    }
}

/// The rule of a field on a route.
pub fn rule(route: Route, name: &str) -> Rule {
    let field = FIELDS.iter().find(|field| field.name == name);
    field.map_or(Unknown, |field| field.rule(route))
}

/// The rule of a field in one of the smaller tables.
pub fn rule_of(table: &[(&str, Rule)], name: &str) -> Rule {
    let found = table.iter().find(|(known, _)| *known == name);
    found.map_or(Unknown, |(_, rule)| *rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_readable() {
        let mut names: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FIELDS.len(), "a field stands twice");
        let rules = FIELDS.iter().flat_map(|f| [f.chat, f.completions]);
        let smaller = [STREAM_OPTIONS, MESSAGE, PART].concat();
        for rule in rules.chain(smaller.into_iter().map(|(_, rule)| rule)) {
            if let Refused(harmless, sentence) = rule {
                for text in harmless {
                    serde_json::from_str::<serde_json::Value>(text).unwrap();
                }
                assert!(sentence.ends_with('.'), "{sentence:?}");
            }
        }
    }
}
