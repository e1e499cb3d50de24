//! Titles and front matter: what documents say of themselves.

use super::formats::{refused, stored};
use crate::common::{Server, json_of};
use serde_json::json;

#[tokio::test]
async fn a_title_that_nobody_typed_is_shortened_at_a_word() {
    let server = Server::start().await;
    let long = "The lighthouse keepers of Vell and their lamps ".repeat(10);
    let long = long.trim();
    for text in [
        format!("# {long}\n\nA lamp."),
        format!("---\ntitle: {long}\n---\nA lamp."),
    ] {
        let found = stored(
            &server,
            "adapter=a&again=true",
            "text/markdown",
            text.into(),
        )
        .await;
        let title = found[0]["title"].as_str().unwrap();
        let kept = title.strip_suffix('…').unwrap();
        assert!(title.chars().count() <= 300 && kept.len() > 280, "{title}");
        assert!(
            long[kept.len()..].starts_with(' ') && long.starts_with(kept),
            "{title}"
        );
    }
    // A title in the request is the client's to shorten.
    let query = format!("/ingest?adapter=a&title={}", "x".repeat(301));
    let request = server
        .post(&query)
        .header("content-type", "text/plain")
        .body("A lamp.");
    let (status, problem) = json_of(request).await;
    assert_eq!(
        (status, &problem["field"]),
        (422, &json!("title")),
        "{problem}"
    );
}

#[tokio::test]
async fn a_title_without_a_visible_character_is_none() {
    let server = Server::start().await;
    for blank in [
        "\u{200b}",
        "\u{feff} \u{2060}",
        "\u{ad}\u{3164}",
        "\u{2800}",
    ] {
        let document = json!({"title": blank, "text": "A lamp."});
        let body = json!({"adapter": "a", "documents": [document]});
        let (status, problem) = json_of(server.post("/ingest").json(&body)).await;
        let told = (status, &problem["field"]);
        assert_eq!(
            told,
            (422, &json!("documents[0].title")),
            "{blank:?} {problem}"
        );
        let document = json!({"title": "A", "text": blank});
        let body = json!({"adapter": "a", "documents": [document]});
        let (status, problem) = json_of(server.post("/ingest").json(&body)).await;
        let told = (status, &problem["field"]);
        assert_eq!(
            told,
            (422, &json!("documents[0].text")),
            "{blank:?} {problem}"
        );
        // A file whose own title is blank has none.
        let text = format!("# {blank}\n\nA lamp.");
        let request = server
            .post("/ingest?adapter=a")
            .header("content-type", "text/markdown");
        let (status, problem) = json_of(request.body(text)).await;
        let told = (status, &problem["code"]);
        assert_eq!(told, (422, &json!("missing_field")), "{blank:?} {problem}");
    }
    let joined = json!({"title": "می\u{200c}خواهم", "text": "A lamp."});
    let body = json!({"adapter": "a", "documents": [joined]});
    assert_eq!(json_of(server.post("/ingest").json(&body)).await.0, 202);
}

#[tokio::test]
async fn wrong_front_matter_is_told_in_words_with_its_line() {
    let server = Server::start().await;
    let mut wrong = Vec::new();
    for (fence, matter, told) in [
        (
            "---",
            "a: 1\na: 2",
            "line 3 of the front matter is wrong: the key `a` stands there twice; keep one",
        ),
        (
            "---",
            "title: [a, b",
            "line 2 of the front matter is wrong: a bracket is not closed, or by another;",
        ),
        (
            "---",
            "a: !!int x",
            "a tag (`!!name`) does not fit its value;",
        ),
        ("---", "a: .inf", "the number `.inf` is not finite;"),
        ("---", "null: x", "with words or numbers as keys"),
        ("---", "a: {[1]: 2}", "with words or numbers as keys"),
        ("---", "a: &x {b: *x}", "with words or numbers as keys"),
        (
            "+++",
            "a = 99999999999999999999",
            "TOML has `key = value` there",
        ),
    ] {
        let text = format!("{fence}\n{matter}\n{fence}\n# T\n\nA lamp.");
        let (status, code, detail) = refused(&server, "text/markdown", text.into()).await;
        assert_eq!(
            (status, code.as_str()),
            (422, "invalid_front_matter"),
            "{detail}"
        );
        if !detail.contains(told) {
            wrong.push(format!("{matter}: {detail}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
