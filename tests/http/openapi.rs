//! The API's description equals the committed `openapi/openapi.json`, so a change of the API changes that file too.

use crate::common::{Server, json_of};
use serde_json::Value;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json");

#[test]
fn the_document_is_the_one_in_the_repository() {
    let document = autodidact::http::openapi();
    let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    let pinned = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        text == pinned,
        "the interface differs from openapi/openapi.json; if that is meant, run the tests once with UPDATE_OPENAPI=1"
    );
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_the_server_tells_the_same() {
    let server = Server::start().await;
    let (_, document) = json_of(server.get("/openapi.json")).await;
    assert_eq!(document, autodidact::http::openapi());
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} leads nowhere"
        );
    }
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|v| collect(v, found));
        }
        Value::Array(list) => list.iter().for_each(|v| collect(v, found)),
        _ => {}
    }
}
