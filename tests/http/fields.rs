//! Every field that OpenAI and vLLM publish is obeyed, means nothing for the answer, or is refused by name. None is
//! dropped in silence.

use crate::common::{BASE, Server, json_of, merge};
use serde_json::{Value, json};

pub const CHAT: &str = "/v1/chat/completions";
pub const COMPLETIONS: &str = "/v1/completions";

/// What becomes of a field that asks for something.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// It is read: a value of the wrong kind is refused as such.
    Obeyed,
    /// It cannot change the answer.
    Label,
    /// 400 `unsupported_parameter`.
    Refused,
}
use Fate::{Label, Obeyed, Refused};

/// The fields of OpenAI's present API (`openai` 3.54), each with a value that asks for something.
fn openai_chat() -> Vec<(&'static str, Value, Fate)> {
    vec![
        ("audio", json!({"voice": "ash", "format": "wav"}), Refused),
        ("frequency_penalty", json!("much"), Obeyed),
        ("function_call", json!({"name": "f"}), Refused),
        ("functions", json!([{"name": "f"}]), Refused),
        ("logit_bias", json!({"50256": -100}), Refused),
        ("logprobs", json!("yes"), Obeyed),
        ("max_completion_tokens", json!("all"), Obeyed),
        ("max_tokens", json!("all"), Obeyed),
        ("messages", json!("Hello"), Obeyed),
        ("metadata", json!({"topic": "x"}), Label),
        ("modalities", json!(["text", "audio"]), Refused),
        ("model", json!(7), Obeyed),
        ("moderation", json!({"model": "m"}), Refused),
        ("n", json!("two"), Obeyed),
        ("parallel_tool_calls", json!(true), Label),
        (
            "prediction",
            json!({"type": "content", "content": "x"}),
            Refused,
        ),
        ("presence_penalty", json!("much"), Obeyed),
        ("prompt_cache_key", json!("k"), Label),
        ("prompt_cache_options", json!({"mode": "explicit"}), Label),
        ("prompt_cache_retention", json!("24h"), Label),
        ("reasoning_effort", json!("high"), Refused),
        ("response_format", json!({"type": "json_object"}), Refused),
        ("safety_identifier", json!("s"), Label),
        ("seed", json!("seven"), Obeyed),
        ("service_tier", json!("flex"), Label),
        ("stop", json!(3), Obeyed),
        ("store", json!(true), Label),
        ("stream", json!("yes"), Obeyed),
        ("stream_options", json!("usage"), Obeyed),
        ("temperature", json!("hot"), Obeyed),
        ("tool_choice", json!("required"), Refused),
        (
            "tools",
            json!([{"type": "function", "function": {"name": "f"}}]),
            Refused,
        ),
        ("top_logprobs", json!("many"), Obeyed),
        ("top_p", json!("most"), Obeyed),
        ("user", json!("ann"), Label),
        ("verbosity", json!("low"), Refused),
        ("web_search_options", json!({}), Refused),
    ]
}

fn openai_completions() -> Vec<(&'static str, Value, Fate)> {
    vec![
        ("best_of", json!(3), Refused),
        ("echo", json!(true), Refused),
        ("frequency_penalty", json!("much"), Obeyed),
        ("logit_bias", json!({"50256": -100}), Refused),
        ("logprobs", json!("yes"), Obeyed),
        ("max_tokens", json!("all"), Obeyed),
        ("model", json!(7), Obeyed),
        ("n", json!("two"), Obeyed),
        ("presence_penalty", json!("much"), Obeyed),
        ("prompt", json!({"text": "x"}), Obeyed),
        ("seed", json!("seven"), Obeyed),
        ("stop", json!(3), Obeyed),
        ("stream", json!("yes"), Obeyed),
        ("stream_options", json!("usage"), Obeyed),
        ("suffix", json!("."), Refused),
        ("temperature", json!("hot"), Obeyed),
        ("top_p", json!("most"), Obeyed),
        ("user", json!("ann"), Label),
    ]
}

/// vLLM's additions to both routes, with those of its earlier versions that clients still send.
fn vllm() -> Vec<(&'static str, Value, Fate)> {
    vec![
        ("add_special_tokens", json!("perhaps"), Refused),
        ("allowed_token_ids", json!([1, 2]), Refused),
        ("bad_words", json!(["x"]), Refused),
        ("cache_salt", json!("salt"), Refused),
        ("ec_transfer_params", json!({"a": 1}), Refused),
        ("guided_choice", json!(["yes", "no"]), Refused),
        ("guided_decoding_backend", json!("xgrammar"), Label),
        ("guided_grammar", json!("root ::= \"x\""), Refused),
        ("guided_json", json!({"type": "object"}), Refused),
        ("guided_regex", json!("[a-z]+"), Refused),
        ("guided_whitespace_pattern", json!(" "), Label),
        ("ignore_eos", json!("yes"), Obeyed),
        ("include_stop_str_in_output", json!(true), Refused),
        ("kv_transfer_params", json!({"a": 1}), Refused),
        ("length_penalty", json!(1.5), Refused),
        ("logits_processors", json!(["x"]), Refused),
        ("logprob_token_ids", json!([1]), Refused),
        ("min_p", json!(0.1), Refused),
        ("min_tokens", json!(5), Refused),
        ("priority", json!(-1), Refused),
        ("prompt_embeds", json!("aGVsbG8="), Refused),
        ("prompt_logprobs", json!(0), Refused),
        (
            "repetition_detection",
            json!({"max_pattern_size": 3}),
            Refused,
        ),
        ("repetition_penalty", json!("much"), Obeyed),
        ("request_id", json!("r1"), Label),
        ("response_format", json!({"type": "json_object"}), Refused),
        ("return_mm_kwargs", json!(false), Label),
        ("return_token_ids", json!(true), Refused),
        ("return_token_offsets", json!(true), Refused),
        ("return_tokens_as_token_ids", json!("yes"), Obeyed),
        ("routed_experts_prompt_start", json!(3), Label),
        ("session_id", json!("s1"), Label),
        ("skip_special_tokens", json!(false), Refused),
        ("spaces_between_special_tokens", json!(false), Refused),
        ("stop_token_ids", json!([1]), Refused),
        ("stream_interval", json!(4), Label),
        ("structured_outputs", json!({"choice": ["a"]}), Refused),
        ("thinking_token_budget", json!(64), Refused),
        ("top_k", json!("few"), Obeyed),
        ("truncate_prompt_tokens", json!(8), Refused),
        ("truncation_side", json!("left"), Label),
        ("use_beam_search", json!(true), Refused),
        ("vllm_xargs", json!({"a": 1}), Refused),
        ("watermarking", json!(true), Refused),
    ]
}

/// vLLM's additions to chats.
fn vllm_chat() -> Vec<(&'static str, Value, Fate)> {
    vec![
        ("add_generation_prompt", json!("yes"), Obeyed),
        ("chat_template", json!("{{ messages }}"), Refused),
        ("chat_template_kwargs", json!("x"), Obeyed),
        ("continue_final_message", json!(true), Refused),
        ("documents", json!([{"title": "T", "text": "x"}]), Refused),
        ("echo", json!(true), Refused),
        ("include_reasoning", json!(false), Refused),
        ("media_io_kwargs", json!({"video": {"fps": 1}}), Refused),
        ("mm_processor_kwargs", json!({"a": 1}), Refused),
        ("return_prompt_text", json!(true), Refused),
    ]
}

/// A short greedy request of the route.
fn plain(route: &str, more: Value) -> Value {
    let mut body = json!({"model": BASE, "temperature": 0, "max_tokens": 3, "ignore_eos": true});
    match route {
        CHAT => body["messages"] = json!([{"role": "user", "content": "Hello"}]),
        _ => body["prompt"] = json!("Hello"),
    }
    merge(&mut body, more);
    body
}

pub async fn send(server: &Server, route: &str, more: Value) -> (u16, Value) {
    json_of(server.post(route).json(&plain(route, more))).await
}

pub fn text_of(answer: &Value) -> Value {
    let choice = &answer["choices"][0];
    json!([
        choice["message"]["content"],
        choice["text"],
        choice["logprobs"]
    ])
}

#[tokio::test]
async fn no_published_field_is_dropped_in_silence() {
    let server = Server::start().await;
    let chat = [openai_chat(), vllm(), vllm_chat()].concat();
    let completions = [openai_completions(), vllm()].concat();
    for (route, fields) in [(CHAT, chat), (COMPLETIONS, completions)] {
        let (_, without) = send(&server, route, json!({})).await;
        for (field, value, fate) in fields {
            let case = format!("{route} {field}");
            let (status, answer) = send(&server, route, json!({field: value})).await;
            let (param, code) = (&answer["error"]["param"], &answer["error"]["code"]);
            match fate {
                Label => {
                    assert_eq!(status, 200, "{case} {answer}");
                    assert_eq!(text_of(&answer), text_of(&without), "{case}");
                }
                Obeyed | Refused => {
                    assert_eq!((status, param), (400, &json!(field)), "{case} {answer}");
                    let refused = code == "unsupported_parameter";
                    assert_eq!(refused, fate == Refused, "{case} {answer}");
                }
            }
        }
    }
}

#[tokio::test]
async fn values_that_ask_for_nothing_are_accepted() {
    let server = Server::start().await;
    let of_openai = json!({"n": 1, "best_of": 1, "stop": "", "suffix": "", "echo": false, "logit_bias": {},
        "tools": [], "functions": [], "tool_choice": "none", "function_call": "auto", "seed": null,
        "response_format": {"type": "text"}, "modalities": ["text"], "verbosity": "medium",
        "stream_options": {"include_usage": null, "include_obfuscation": false, "continuous_usage_stats": false},
        "presence_penalty": 0.0, "frequency_penalty": 0, "top_p": 1, "top_logprobs": 0});
    let of_vllm = json!({"ignore_eos": true, "min_p": 0, "min_tokens": 0, "repetition_penalty": 1,
        "use_beam_search": false, "length_penalty": 1.0, "stop_token_ids": [], "bad_words": [],
        "guided_choice": [], "guided_regex": "", "structured_outputs": {}, "skip_special_tokens": true,
        "spaces_between_special_tokens": true, "priority": 0, "include_stop_str_in_output": false,
        "thinking_token_budget": -1, "return_token_ids": false, "include_reasoning": true,
        "return_tokens_as_token_ids": false});
    let mut shared = json!({"a_field_of_tomorrow": null, "another": [], "a_third": {}, "a_fourth": false,
        "a_fifth": ""});
    merge(&mut shared, of_openai);
    merge(&mut shared, of_vllm);
    let chat = json!({"logprobs": false, "reasoning_effort": "none", "add_generation_prompt": true,
        "continue_final_message": false, "chat_template_kwargs": {}, "documents": [], "chat_template": ""});
    let completions = json!({"logprobs": null, "add_special_tokens": true, "prompt_embeds": null});
    for (route, own) in [(CHAT, chat), (COMPLETIONS, completions)] {
        let (_, without) = send(&server, route, json!({})).await;
        let mut neutral = shared.clone();
        merge(&mut neutral, own);
        for top_k in [-1, 0] {
            neutral["top_k"] = json!(top_k);
            let (status, answer) = send(&server, route, neutral.clone()).await;
            assert_eq!(status, 200, "{route} {answer}");
            assert_eq!(text_of(&answer), text_of(&without), "{route}");
        }
        // Each alone, and each of them null.
        for (field, value) in neutral.as_object().unwrap() {
            for value in [value, &Value::Null] {
                let (status, answer) = send(&server, route, json!({field: value})).await;
                assert_eq!(status, 200, "{route} {field} {value} {answer}");
            }
        }
        for stop in [json!([]), json!(null), json!("")] {
            assert_eq!(
                send(&server, route, json!({"stop": stop})).await.0,
                200,
                "{route}"
            );
        }
    }
    // Every optional field of the lists, given as null.
    for (route, fields) in [
        (CHAT, [openai_chat(), vllm(), vllm_chat()].concat()),
        (COMPLETIONS, [openai_completions(), vllm()].concat()),
    ] {
        let required = ["model", "messages", "prompt"];
        let names = fields
            .iter()
            .map(|(name, ..)| *name)
            .filter(|name| !required.contains(name));
        let nulls: serde_json::Map<String, Value> =
            names.map(|name| (name.to_owned(), Value::Null)).collect();
        let (status, answer) = send(&server, route, Value::Object(nulls)).await;
        assert_eq!(status, 200, "{route} {answer}");
    }
}

#[tokio::test]
async fn what_is_not_known_is_refused_by_name() {
    let server = Server::start().await;
    let usage = |value: Value| json!({"stream": true, "stream_options": value});
    let cases = [
        (json!({"something_new": 1}), "something_new"),
        (json!({"num_ctx": 0}), "num_ctx"),
        (json!({"mirostat": true}), "mirostat"),
        (json!({"options": {"temperature": 0}}), "options"),
        (json!({"lora": ["x"]}), "lora"),
        (json!({"format": "json"}), "format"),
        (
            usage(json!({"continuous_usage_stats": true})),
            "stream_options.continuous_usage_stats",
        ),
        (
            usage(json!({"include_everything": 1})),
            "stream_options.include_everything",
        ),
        (
            usage(json!({"include_usage": "yes"})),
            "stream_options.include_usage",
        ),
        (
            json!({"response_format": {"type": "text", "schema": {}}}),
            "response_format",
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}),
            "response_format",
        ),
        (usage(json!([true])), "stream_options"),
        (json!({"top_k": -2}), "top_k"),
    ];
    for route in [CHAT, COMPLETIONS] {
        for (more, field) in &cases {
            let (status, answer) = send(&server, route, more.clone()).await;
            assert_eq!(
                (status, &answer["error"]["param"]),
                (400, &json!(field)),
                "{route} {answer}"
            );
        }
    }
    for (route, foreign) in [(CHAT, "prompt"), (COMPLETIONS, "max_completion_tokens")] {
        let (status, answer) = send(&server, route, json!({foreign: 7})).await;
        assert_eq!(
            (status, &answer["error"]["param"]),
            (400, &json!(foreign)),
            "{answer}"
        );
    }
    assert_eq!(
        send(&server, CHAT, json!({"logprobs": false, "top_logprobs": 0}))
            .await
            .0,
        200
    );
    assert_eq!(send(&server, CHAT, json!({"top_logprobs": 0})).await.0, 200);
    assert_eq!(
        send(&server, CHAT, json!({"logprobs": false, "top_logprobs": 1}))
            .await
            .0,
        400
    );
    let tokens = server.state.engine.stats().completion_tokens;
    // The count may still lack the last token.
    assert!(
        tokens <= 6,
        "only the two good requests generate, not {tokens}"
    );
}

#[tokio::test]
async fn the_prompt_may_end_without_the_beginning_of_an_answer() {
    let server = Server::start().await;
    let tokens = async |more: Value| {
        let (status, answer) = send(&server, CHAT, more).await;
        assert_eq!(status, 200, "{answer}");
        answer["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let opened = tokens(json!({"add_generation_prompt": true})).await;
    assert_eq!(tokens(json!({})).await, opened);
    let closed = tokens(json!({"add_generation_prompt": false})).await;
    assert!(closed < opened);
    let variables = |more: Value| json!({"chat_template_kwargs": more});
    let variable = json!({"add_generation_prompt": false});
    assert_eq!(tokens(variables(variable)).await, closed);
    for (name, value) in [
        ("messages", json!([])),
        ("continue_final_message", json!(true)),
        ("add_generation_prompt", json!("no")),
    ] {
        let (status, answer) = send(&server, CHAT, variables(json!({name: value}))).await;
        let field = json!(format!("chat_template_kwargs.{name}"));
        let told = (status, &answer["error"]["param"]);
        assert_eq!(told, (400, &field), "{answer}");
    }
}

#[tokio::test]
async fn vllms_routes_for_adapters_drop_nothing_either() {
    let server = Server::start().await;
    let cases = [
        (json!({"load_inplace": true}), "load_inplace"),
        (json!({"base_model_name": "x"}), "base_model_name"),
        (
            json!({"lora_int_id": 7, "load_inplace": false}),
            "lora_path",
        ),
    ];
    for (more, field) in cases {
        let mut body = json!({"lora_name": "kb", "lora_path": "/nowhere"});
        merge(&mut body, more);
        let request = server.post("/v1/load_lora_adapter").json(&body);
        let (status, answer) = json_of(request).await;
        assert_eq!(
            (status, &answer["error"]["param"]),
            (400, &json!(field)),
            "{answer}"
        );
    }
}
