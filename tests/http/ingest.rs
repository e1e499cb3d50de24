//! Ingesting, with a handler that learns at once: bodies, answers, and idempotency.

use crate::common::{BASE, Server, json_of};
use autodidact::config::{TextModelConfig, UrlModel};
use autodidact::learn::ports::model::{Prompt, Sampling};
use autodidact::learn::ports::text_model::TextModel;
use autodidact::pool::OpenAiModel;
use serde_json::{Value, json};

#[tokio::test]
async fn a_document_becomes_a_job() {
    let server = Server::start().await;
    server.gate.close();
    let answer = server.ingest("kb", &["One", "Two"]).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let body: Value = answer.json().await.unwrap();
    let id = body["job"]["id"].as_str().unwrap();
    assert_eq!(location, format!("/jobs/{id}"));
    assert_eq!(
        (&body["job"]["adapter"], &body["job"]["kind"]),
        (&json!("kb"), &json!("ingest"))
    );
    let titles: Vec<&str> = body["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["title"].as_str().unwrap())
        .collect();
    assert_eq!(titles, ["One", "Two"]);
    server.gate.open();
    let job = server
        .state
        .jobs
        .wait(id, std::time::Duration::from_secs(30))
        .await
        .unwrap();
    let learned = job.result.unwrap()["documents"].clone();
    assert_eq!(learned[1]["id"], body["documents"][1]["id"]);
    let document = body["documents"][0]["id"].as_str().unwrap();
    let (_, document) = json_of(server.get(&format!("/documents/{document}"))).await;
    assert_eq!(document["text"], "The lighthouse is run by Ada.");
    assert_eq!(
        (&document["state"], &document["job_id"]),
        (&json!("learned"), &json!(id))
    );
}

#[tokio::test]
async fn waiting_answers_with_the_finished_job() {
    let server = Server::start().await;
    let request = server.ingest("kb", &["One"]).query(&[("wait", "30s")]);
    let (status, body) = json_of(request).await;
    assert_eq!(status, 200);
    assert_eq!(body["job"]["state"], "succeeded");
    assert_eq!(body["job"]["result"]["live_version"], 1);
    assert_eq!(body["documents"][0]["state"], "learned");
    assert_eq!(body["documents"][0]["version"], 1);
    server.gate.close();
    let request = server.ingest("kb", &["Two"]).query(&[("wait", "20ms")]);
    let (status, body) = json_of(request).await;
    assert_eq!(status, 202);
    assert_ne!(body["job"]["state"], "succeeded");
}

#[tokio::test]
async fn options_reach_the_job_as_they_were_given() {
    let server = Server::start().await;
    let body = json!({"adapter": "kb", "seed": 5, "training": {"epochs": 3},
        "self_edit": {"kind": "none"}, "gate": null,
        "documents": [{"title": " T ", "text": "Text.", "metadata": {"a": 1},
            "questions": [{"question": "Q?", "answer": "A"}]}]});
    let (_, answer) = json_of(server.post("/ingest?wait=30s").json(&body)).await;
    let input = &answer["job"]["result"]["input"];
    let id = &answer["documents"][0]["id"];
    assert_eq!(
        input,
        &json!({"documents": [id], "seed": 5, "training": {"epochs": 3},
        "self_edit": {"kind": "none"}})
    );
    let path = format!("/documents/{}", id.as_str().unwrap());
    let (_, document) = json_of(server.get(&path)).await;
    assert_eq!(document["title"], "T");
    assert_eq!(document["metadata"], json!({"a": 1}));
    assert_eq!(
        document["questions"],
        json!([{"question": "Q?", "answer": "A"}])
    );
}

#[tokio::test]
async fn text_comes_in_four_forms() {
    let server = Server::start().await;
    let post = async |query: &str, kind: &str, body: &str| -> Vec<(String, String)> {
        let request = server.post(&format!("/ingest?adapter=kb&{query}"));
        let request = request.header("content-type", kind).body(body.to_owned());
        let (status, answer) = json_of(request).await;
        assert_eq!(status, 202, "{answer}");
        let mut found = Vec::new();
        for document in answer["documents"].as_array().unwrap() {
            let path = format!("/documents/{}", document["id"].as_str().unwrap());
            let (_, document) = json_of(server.get(&path)).await;
            let text = |field: &str| document[field].as_str().unwrap().to_owned();
            found.push((text("title"), text("text")));
        }
        found
    };
    let pair = |title: &str, text: &str| (title.to_owned(), text.to_owned());
    let plain = post(
        "title=The%20lamp",
        "text/plain; charset=utf-8",
        "It är green.",
    )
    .await;
    assert_eq!(plain, [pair("The lamp", "It är green.")]);
    let markdown = "Preface\n\n# The *lamp*\n\nIt is green.\n";
    let found = post("", "text/markdown", markdown).await;
    assert_eq!(found, [pair("The lamp", markdown)]);
    let found = post("title=Mine", "text/markdown", markdown).await;
    assert_eq!(found, [pair("Mine", markdown)]);
    let lines = "{\"title\":\"A\",\"text\":\"a\"}\r\n\n{\"title\":\"B\",\"text\":\"b\"}";
    let found = post("", "application/x-ndjson", lines).await;
    assert_eq!(found, [pair("A", "a"), pair("B", "b")]);
}

#[tokio::test]
async fn an_idempotency_key_makes_one_job_of_many_requests() {
    let server = Server::start().await;
    let post = |key: &str, title: &str| {
        json_of(server.ingest("kb", &[title]).header("Idempotency-Key", key))
    };
    let (first, again, other) =
        tokio::join!(post("k1", "One"), post("k1", "One"), post("k2", "Three"));
    assert_eq!((first.0, again.0), (202, 202));
    assert_eq!(first.1["job"]["id"], again.1["job"]["id"]);
    assert_eq!(first.1["documents"][0]["id"], again.1["documents"][0]["id"]);
    assert_ne!(first.1["job"]["id"], other.1["job"]["id"]);
    let (status, problem) = post("k1", "Two").await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("idempotency_mismatch"))
    );
    assert_eq!(problem["field"], "Idempotency-Key");
    let (_, documents) = json_of(server.get("/documents?adapter=kb")).await;
    assert_eq!(documents["items"].as_array().unwrap().len(), 2);
    let (status, problem) = post("", "One").await;
    assert_eq!(
        (status, &problem["field"]),
        (422, &json!("Idempotency-Key"))
    );
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let server = Server::with(|config| config.limits.queue = 1).await;
    server.gate.close();
    // One runs, one waits, the next is refused.
    let mut accepted = 0;
    let refused = loop {
        let title = format!("{accepted}");
        let answer = server.ingest("kb", &[&title]).send().await.unwrap();
        match answer.status().as_u16() {
            202 => accepted += 1,
            _ => break answer,
        }
        assert!(accepted < 4, "never full");
    };
    assert_eq!(refused.status(), 429);
    let seconds: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(seconds >= 1);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "queue_full");
    let (_, documents) = json_of(server.get("/documents")).await;
    assert_eq!(documents["items"].as_array().unwrap().len(), accepted);
}

#[tokio::test]
async fn a_judge_and_a_teacher_may_be_asked_for_where_they_are() {
    let body = json!({"adapter": "kb", "documents": [{"title": "T", "text": "Text."}],
        "self_edit": {"writer": "teacher"}, "gate": {"grader": "judge"}});
    let elsewhere: TextModelConfig = "http://127.0.0.1:9/v1#big".parse().unwrap();
    let both = Server::with(|config| {
        config.teacher = Some(elsewhere.clone());
        config.judge = Some(elsewhere.clone());
    });
    let request = both.await.post("/ingest").json(&body);
    assert_eq!(json_of(request).await.0, 202);
    let judge_alone = Server::with(|config| config.judge = Some(elsewhere.clone())).await;
    let (status, problem) = json_of(judge_alone.post("/ingest").json(&body)).await;
    assert_eq!(
        (status, &problem["field"]),
        (422, &json!("self_edit.writer"))
    );
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("[teacher] in the server's configuration"),
        "{detail}"
    );
}

/// A server of this program may use another one as its text model, through the same API as any client.
#[tokio::test]
async fn another_server_of_this_program_can_be_the_text_model() {
    let server = Server::start().await;
    let url = format!("{}/v1", server.url);
    let model = UrlModel::new(&url, BASE).unwrap();
    let model = OpenAiModel::new(model, |_| None).unwrap();
    let ask = move || {
        let prompt = Prompt::user("Who runs the lighthouse?");
        model.complete(&[prompt], &Sampling::greedy(12), &|| false)
    };
    let texts = tokio::task::spawn_blocking(ask).await.unwrap().unwrap();
    let question = json!({"messages": [{"role": "user", "content": "Who runs the lighthouse?"}],
        "model": BASE, "max_tokens": 12, "temperature": 0});
    let request = server.post("/v1/chat/completions").json(&question);
    let (_, answer) = json_of(request).await;
    assert_eq!(
        texts,
        [[answer["choices"][0]["message"]["content"].as_str().unwrap()]]
    );

    let wrong = UrlModel::new(&url, "nobody").unwrap();
    let wrong = OpenAiModel::new(wrong, |_| None).unwrap();
    let ask = move || wrong.complete(&[Prompt::user("Who?")], &Sampling::greedy(1), &|| false);
    let failed = tokio::task::spawn_blocking(ask).await.unwrap();
    let told = failed.unwrap_err().to_string();
    assert!(
        told.contains("it answered 404") && told.contains("nobody"),
        "{told}"
    );
}
