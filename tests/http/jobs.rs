//! Jobs: listing, stopping, resuming, and following them.

use super::python;
use crate::common::{Server, json_of};
use futures::StreamExt;
use serde_json::{Value, json};

async fn submit(server: &Server, adapter: &str) -> String {
    // A document that is known makes no job.
    let title = autodidact::store::new_id("title");
    let (_, body) = json_of(server.ingest(adapter, &[&title])).await;
    body["job"]["id"].as_str().unwrap().to_owned()
}

async fn reaches(server: &Server, id: &str, state: &str) -> Value {
    let mut events = server.state.jobs.subscribe(id, 0).unwrap();
    loop {
        let (_, job) = json_of(server.get(&format!("/jobs/{id}"))).await;
        if job["state"] == state {
            return job;
        }
        assert!(events.next().await.unwrap().is_some(), "ended as {job}");
    }
}

#[tokio::test]
async fn a_job_is_paused_resumed_and_cancelled() {
    let server = Server::start().await;
    server.gate.close();
    let id = submit(&server, "kb").await;
    let wish = |wish: &str| json_of(server.post(&format!("/jobs/{id}/{wish}")));
    reaches(&server, &id, "running").await;
    let (status, job) = wish("pause").await;
    assert_eq!((status, &job["pause_requested"]), (200, &json!(true)));
    let job = reaches(&server, &id, "paused").await;
    assert_eq!(job["pause_requested"], false);
    let (status, job) = wish("resume").await;
    assert_eq!((status, &job["id"]), (200, &json!(id)));
    reaches(&server, &id, "running").await;
    assert_eq!(wish("cancel").await.0, 200);
    let job = reaches(&server, &id, "cancelled").await;
    assert!(!job["finished_at"].is_null());
    for late in ["cancel", "pause", "resume"] {
        let (status, problem) = wish(late).await;
        assert_eq!(
            (status, &problem["code"]),
            (409, &json!("job_state")),
            "{late}"
        );
    }
}

#[tokio::test]
async fn jobs_are_listed_newest_first_and_filtered() {
    let server = Server::start().await;
    server.gate.close();
    let (a, b, c) = (
        submit(&server, "kb").await,
        submit(&server, "other").await,
        submit(&server, "kb").await,
    );
    let list = async |query: &str| -> (Vec<String>, Value) {
        let (_, page) = json_of(server.get(&format!("/jobs?{query}"))).await;
        let items = page["items"].as_array().unwrap().iter();
        (
            items
                .map(|j| j["id"].as_str().unwrap().to_owned())
                .collect(),
            page["next"].clone(),
        )
    };
    assert_eq!(list("").await.0, [c.clone(), b.clone(), a.clone()]);
    assert_eq!(list("adapter=kb").await.0, [c.clone(), a.clone()]);
    let (first, next) = list("limit=2").await;
    assert_eq!(first, [c, b]);
    let (second, next) = list(&format!("limit=2&after={}", next.as_str().unwrap())).await;
    assert_eq!((second, next), (vec![a], Value::Null));
    assert_eq!(list("state=succeeded").await.0, Vec::<String>::new());
}

/// (id, kind, data) of every event of a stream that ends by itself.
async fn follow(server: &Server, id: &str, last: Option<u64>) -> Vec<(u64, String, Value)> {
    let mut request = server.get(&format!("/jobs/{id}/events"));
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    parse(&answer.text().await.unwrap())
}

fn parse(text: &str) -> Vec<(u64, String, Value)> {
    // A comment is a line of its own, and ends no event.
    let text = text.replace("\n:\n", "\n").replace("\n:\n", "\n");
    let text = text.trim_start_matches(":\n");
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| {
            let field = |name: &str| {
                let line = block.lines().find_map(|l| l.strip_prefix(name));
                line.unwrap_or_else(|| panic!("no {name} in {block}"))
                    .trim()
                    .to_owned()
            };
            let data = serde_json::from_str(&field("data:")).unwrap();
            (field("id:").parse().unwrap(), field("event:"), data)
        })
        .collect()
}

#[tokio::test]
async fn events_are_numbered_and_end_with_the_job() {
    let server = Server::start().await;
    let id = submit(&server, "kb").await;
    let events = follow(&server, &id, None).await;
    let numbers: Vec<u64> = events.iter().map(|e| e.0).collect();
    assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{numbers:?}");
    let kinds: Vec<&str> = events.iter().map(|e| e.1.as_str()).collect();
    assert!(
        kinds.contains(&"progress") && kinds.contains(&"document"),
        "{kinds:?}"
    );
    let (_, kind, data) = events.last().unwrap();
    assert_eq!(
        (kind.as_str(), &data["state"]),
        ("state", &json!("succeeded"))
    );
    // A client that was cut off after an event gets exactly the rest.
    for cut in [0, 1, events.len() - 1, events.len()] {
        let last = cut.checked_sub(1).map_or(0, |i| events[i].0);
        assert_eq!(
            follow(&server, &id, Some(last)).await,
            events[cut..],
            "after {last}"
        );
    }
}

#[tokio::test]
async fn events_arrive_while_the_job_runs() {
    let server = Server::start().await;
    server.gate.close();
    let id = submit(&server, "kb").await;
    reaches(&server, &id, "running").await;
    let answer = server
        .get(&format!("/jobs/{id}/events"))
        .send()
        .await
        .unwrap();
    let mut stream = answer.bytes_stream();
    let mut text = String::new();
    while !text.contains("\"running\"") {
        text.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(!text.contains("succeeded"));
    server.gate.open();
    while let Some(bytes) = stream.next().await {
        text.push_str(std::str::from_utf8(&bytes.unwrap()).unwrap());
    }
    assert_eq!(parse(&text).last().unwrap().2["state"], "succeeded");
}

#[tokio::test]
async fn keep_alives_are_no_events_to_a_client_library() {
    let server = Server::start().await;
    server.gate.close();
    let id = submit(&server, "kb").await;
    python::run("tests/sse_client.py", &[&server.url, &id]).await;
}

#[tokio::test]
async fn a_strange_last_event_id_is_refused() {
    let server = Server::start().await;
    let id = submit(&server, "kb").await;
    let request = server
        .get(&format!("/jobs/{id}/events"))
        .header("Last-Event-ID", "abc");
    let (status, problem) = json_of(request).await;
    assert_eq!((status, &problem["field"]), (422, &json!("Last-Event-ID")));
}

#[tokio::test]
async fn a_job_can_be_waited_for() {
    let server = Server::start().await;
    server.gate.close();
    let id = submit(&server, "kb").await;
    let wait = |wait: &str| json_of(server.get(&format!("/jobs/{id}?{wait}")));
    let (status, job) = wait("wait=1ms").await;
    assert_eq!((status, &job["finished_at"]), (200, &Value::Null));
    server.gate.open();
    assert_eq!(wait("wait=5m").await.1["state"], "succeeded");
    for wrong in ["wait=soon", "wat=1s"] {
        assert_eq!(wait(wrong).await.0, 422, "{wrong}");
    }
}
