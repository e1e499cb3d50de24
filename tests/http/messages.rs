//! The fields of a message and of its parts.

use super::fields::{CHAT, send, text_of};
use crate::common::{Server, merge};
use serde_json::{Value, json};

#[tokio::test]
async fn fields_of_a_message_go_by_a_table_too() {
    let server = Server::start().await;
    let with = async |message: Value| {
        let said = json!({"role": "assistant", "content": "Hi"});
        let mut turn = said.clone();
        merge(&mut turn, message);
        let messages = json!([{"role": "user", "content": "Hello"}, turn]);
        send(&server, CHAT, json!({"messages": messages})).await
    };
    let (_, without) = with(json!({})).await;
    for (field, value) in [
        ("name", json!("ann")),
        ("reasoning_content", json!("So.")),
        ("reasoning", json!("So.")),
        ("thinking", json!("So.")),
        ("tool_call_id", json!("1")),
        ("annotations", json!([{"type": "url_citation"}])),
        ("cache_control", json!({"type": "ephemeral"})),
        ("tool_calls", json!([])),
        ("refusal", json!(null)),
        ("prefix", json!(false)),
        ("a_field_of_tomorrow", json!(null)),
    ] {
        let (status, answer) = with(json!({field: value})).await;
        assert_eq!(status, 200, "{field} {answer}");
        // The tiny model's template reads none of them.
        assert_eq!(text_of(&answer), text_of(&without), "{field}");
    }
    for (field, value) in [
        ("prefix", json!(true)),
        ("partial", json!(true)),
        ("tool_calls", json!([{"id": "1"}])),
        ("function_call", json!({"name": "f"})),
        ("audio", json!({"id": "a"})),
        ("refusal", json!("No.")),
        ("recipient", json!("all")),
        ("name", json!(7)),
        ("thinking", json!({"text": "So."})),
    ] {
        let (status, answer) = with(json!({field: value})).await;
        let told = (status, &answer["error"]["param"]);
        let field = format!("messages[1].{field}");
        assert_eq!(told, (400, &json!(field)), "{answer}");
    }
    let part = async |more: Value| {
        let mut part = json!({"type": "text", "text": "Hi"});
        merge(&mut part, more);
        with(json!({"content": [part]})).await
    };
    assert_eq!(
        part(json!({"cache_control": {"type": "ephemeral"}}))
            .await
            .0,
        200
    );
    let (status, answer) = part(json!({"prefix": true})).await;
    let told = (status, &answer["error"]["param"]);
    assert_eq!(
        told,
        (400, &json!("messages[1].content[0].prefix")),
        "{answer}"
    );
}
