//! A document posted twice, with a handler that learns at once: what is known is told and not learned again.

use crate::common::{Server, eventually, json_of};
use autodidact::store::{DocumentState, JobState};
use serde_json::{Value, json};

const TEXT: &str = "The ferry leaves at seven. Its captain is Ada Finch. A ticket costs 4 marks.";
const NEWER: &str = "The ferry leaves at nine. Its captain is Bo Lund. A ticket costs 7 marks.";

async fn post(server: &Server, adapter: &str, document: Value, more: Value) -> (u16, Value) {
    let mut body = json!({"adapter": adapter, "documents": [document]});
    crate::common::merge(&mut body, more);
    json_of(server.post("/ingest?wait=30s").json(&body)).await
}

fn ferry(text: &str) -> Value {
    json!({"title": "Ferry", "text": text})
}

async fn count(server: &Server, query: &str) -> usize {
    let (status, page) = json_of(server.get(&format!("/documents?{query}"))).await;
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_document_posted_twice_is_known() {
    let server = Server::start().await;
    let (status, first) = post(&server, "kb", ferry(TEXT), json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(first["documents"][0]["known"], false);
    let id = &first["documents"][0]["id"];
    let jobs = server.state.store.jobs().counts().unwrap();

    // Line breaks, spaces, a byte order mark and the form of letters make no other document.
    let same = [
        TEXT,
        &TEXT.replace(". ", ".\r\n"),
        &format!("\u{feff}{TEXT}\n\n"),
    ]
    .map(ferry);
    for document in same {
        let body = json!({"adapter": "kb", "documents": [document]});
        let (status, again) = json_of(server.post("/ingest").json(&body)).await;
        assert_eq!(status, 200, "{again}");
        let known = &again["documents"][0];
        assert_eq!((&known["id"], &known["known"]), (id, &json!(true)));
        assert_eq!(known["state"], "learned");
        assert_eq!(known["digest"], first["documents"][0]["digest"]);
        assert_eq!(again["job"]["id"], first["job"]["id"]);
    }
    assert_eq!(server.state.store.jobs().counts().unwrap(), jobs);
    assert_eq!(count(&server, "adapter=kb").await, 1);

    // The same in another content type.
    let request = server.post("/ingest?adapter=kb&title=Ferry");
    let request = request.header("content-type", "text/plain").body(TEXT);
    let (status, plain) = json_of(request).await;
    assert_eq!((status, &plain["documents"][0]["id"]), (200, id));

    // Another adapter, another title and a change of case are something else.
    assert_eq!(
        post(&server, "other", ferry(TEXT), json!({})).await.1["documents"][0]["known"],
        false
    );
    let titled = json!({"title": "The ferry", "text": TEXT});
    assert_eq!(
        post(&server, "kb", titled, json!({})).await.1["documents"][0]["known"],
        false
    );
    let loud = ferry(&TEXT.to_uppercase());
    assert_eq!(
        post(&server, "kb", loud, json!({})).await.1["documents"][0]["known"],
        false
    );
    assert_eq!(count(&server, "adapter=kb").await, 3);
}

#[tokio::test]
async fn a_known_document_is_learned_again_if_asked_for() {
    let server = Server::start().await;
    let (_, first) = post(&server, "kb", ferry(TEXT), json!({})).await;
    for (nth, (document, more)) in [
        (ferry(TEXT), json!({"again": true})),
        (
            json!({"title": "Ferry", "text": TEXT, "again": true}),
            json!({}),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, again) = post(&server, "kb", document, more).await;
        assert_eq!(
            (status, &again["documents"][0]["known"]),
            (200, &json!(false))
        );
        assert_ne!(again["job"]["id"], first["job"]["id"]);
        assert_eq!(count(&server, "adapter=kb").await, nth + 2);
    }
    let request = server.post("/ingest?adapter=kb&title=Ferry&again=true&wait=30s");
    let request = request.header("content-type", "text/plain").body(TEXT);
    assert_eq!(json_of(request).await.1["documents"][0]["known"], false);
}

#[tokio::test]
async fn of_several_documents_only_the_new_ones_are_learned() {
    let server = Server::start().await;
    let (_, first) = post(&server, "kb", ferry(TEXT), json!({})).await;
    let mill = json!({"title": "Mill", "text": "The mill grinds barley for Tam Reed."});
    let body = json!({"adapter": "kb", "documents": [ferry(TEXT), mill, mill]});
    let request = || {
        server
            .post("/ingest?wait=30s")
            .header("Idempotency-Key", "k")
            .json(&body)
    };
    let (status, answer) = json_of(request()).await;
    assert_eq!(status, 200);
    assert_ne!(answer["job"]["id"], first["job"]["id"]);
    let told = |key: &str| -> Vec<Value> {
        let rows = answer["documents"].as_array().unwrap();
        rows.iter().map(|row| row[key].clone()).collect()
    };
    assert_eq!(told("known"), [true, false, true]);
    let ids = told("id");
    assert_eq!(ids[0], first["documents"][0]["id"]);
    assert_eq!(ids[1], ids[2]);
    assert_eq!(told("job_id")[0], first["job"]["id"]);
    assert_eq!(
        answer["job"]["result"]["input"]["documents"],
        json!([ids[1]])
    );
    assert_eq!(
        answer["job"]["result"]["documents"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // The key repeats the answer, although all of it is known by now.
    assert_eq!(json_of(request()).await, (200, answer));
}

#[tokio::test]
async fn what_was_not_learned_is_not_known() {
    let server = Server::start().await;
    let (_, first) = post(&server, "kb", ferry(TEXT), json!({})).await;
    let id = first["documents"][0]["id"].as_str().unwrap();
    let documents = server.state.store.documents();
    use autodidact::store::DocumentState::{Cancelled, Failed, Refused};
    for state in [Refused, Failed, Cancelled] {
        documents.set_state(id, state, None).unwrap();
        let body = json!({"adapter": "kb", "documents": [ferry(TEXT)]});
        server.gate.close();
        let (status, again) = json_of(server.post("/ingest").json(&body)).await;
        assert_eq!(
            (status, &again["documents"][0]["known"]),
            (202, &json!(false))
        );
        // It waits, so it is known.
        let (status, waits) = json_of(server.post("/ingest").json(&body)).await;
        assert_eq!(
            (status, &waits["documents"][0]["known"]),
            (200, &json!(true))
        );
        let job = again["job"]["id"].as_str().unwrap();
        server.state.jobs.cancel(job).unwrap();
        let (status, _) = json_of(server.get(&format!("/jobs/{job}?wait=30s"))).await;
        assert_eq!(status, 200);
        server.gate.open();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_posts_at_one_moment_one_learns() {
    let server = Server::start().await;
    server.gate.close();
    let body = json!({"adapter": "kb", "documents": [ferry(TEXT)]});
    let posts = (0..12).map(|_| tokio::spawn(json_of(server.post("/ingest").json(&body))));
    let mut new = 0;
    for post in posts.collect::<Vec<_>>() {
        let (status, answer) = post.await.unwrap();
        let known = answer["documents"][0]["known"].as_bool().unwrap();
        assert_eq!(status, if known { 200 } else { 202 });
        new += usize::from(!known);
    }
    assert_eq!((new, count(&server, "adapter=kb").await), (1, 1));
}

#[tokio::test]
async fn a_newer_text_says_what_it_replaces() {
    let server = Server::start().await;
    let named = |id: &str, text: &str| json!({"title": "Ferry", "text": text, "external_id": id});
    let replaces = async |document: Value, more: Value| {
        let (status, answer) = post(&server, "kb", document, more).await;
        assert_eq!(status, 200, "{answer}");
        let document = answer["documents"][0].clone();
        (
            document["id"].clone(),
            document["replaces"].clone(),
            document["external_id"].clone(),
        )
    };
    let (first, none, _) = replaces(ferry(TEXT), json!({})).await;
    assert_eq!(none, Value::Null);
    // The same title with every fact changed, and the title in other letters.
    let newer = json!({"title": "ferry ", "text": NEWER});
    let (_, old, _) = replaces(newer, json!({})).await;
    assert_eq!(old, first);
    // Another text under the title is another document.
    let other = "We painted the pier green, and the harbour master had lunch with the mayor.";
    let (_, old, _) = replaces(ferry(other), json!({})).await;
    assert_eq!(old, Value::Null);
    let kept = replaces(ferry(&NEWER.replace('7', "8")), json!({"replace": false})).await;
    assert_eq!(kept.1, Value::Null);
    // A name is taken on from the title, goes on without it, and goes before the title.
    let (third, old, id) = replaces(named("f1", &NEWER.replace('7', "9")), json!({})).await;
    assert_eq!((old, id), (kept.0.clone(), json!("f1")));
    let (fourth, old, id) = replaces(ferry(&NEWER.replace('7', "10")), json!({})).await;
    assert_eq!((old, id), (third, json!("f1")));
    let quite_other = json!({"title": "Timetable", "text": other, "external_id": "f1"});
    assert_eq!(replaces(quite_other, json!({})).await.1, fourth);
    // Another name is another document, whatever the text.
    let (_, old, _) = replaces(named("f2", &NEWER.replace('7', "11")), json!({})).await;
    assert_eq!(old, kept.0);
    assert_eq!(count(&server, "adapter=kb&external_id=f1").await, 3);
    assert_eq!(count(&server, "external_id=f2").await, 1);
    assert_eq!(count(&server, "adapter=kb&external_id=f3").await, 0);
}

#[tokio::test]
async fn the_life_of_a_document_is_the_same_in_every_language() {
    let server = Server::start().await;
    for (title, old, new) in [
        (
            "渡轮",
            "渡轮七点开。船长是李明。票价四元。",
            "渡轮九点开。船长是王芳。票价七元。",
        ),
        (
            "フェリー",
            "フェリーは七時に出る。船長は田中さんだ。",
            "フェリーは九時に出る。船長は鈴木さんだ。",
        ),
        (
            "Паром",
            "Паром уходит в семь. Капитан — Ада.",
            "Паром уходит в девять. Капитан — Бо.",
        ),
        (
            "เรือ",
            "เรือออกเจ็ดโมง กัปตันชื่อสมชาย",
            "เรือออกเก้าโมง กัปตันชื่อสมหญิง",
        ),
    ] {
        let document = |text: &str| json!({"title": title, "text": text});
        let (_, first) = post(&server, "kb", document(old), json!({})).await;
        let (_, again) = post(&server, "kb", document(old), json!({})).await;
        assert_eq!(again["documents"][0]["known"], true, "{title}");
        let (_, newer) = post(&server, "kb", document(new), json!({})).await;
        assert_eq!(
            newer["documents"][0]["replaces"], first["documents"][0]["id"],
            "{title}"
        );
    }
}

#[tokio::test]
async fn a_name_out_of_bounds_is_refused_by_field() {
    let server = Server::start().await;
    let long = "x".repeat(201);
    for id in ["", "  ", " a", "a\n", "a\u{0}b", &long] {
        let document = json!({"title": "Ferry", "text": TEXT, "external_id": id});
        let (status, problem) = post(&server, "kb", document, json!({})).await;
        let wrong = (status, problem["field"].as_str());
        assert_eq!(wrong, (422, Some("documents[0].external_id")), "{id:?}");
    }
    let longest = json!({"title": "Ferry", "text": TEXT, "external_id": "é".repeat(200)});
    assert_eq!(post(&server, "kb", longest, json!({})).await.0, 200);
    for more in [json!({"again": "yes"}), json!({"replace": 1})] {
        let (status, problem) = post(&server, "kb", ferry(TEXT), more.clone()).await;
        assert_eq!(status, 422, "{more}: {problem}");
    }
    assert_eq!(count(&server, "adapter=kb").await, 1);
}

#[tokio::test]
async fn what_a_known_document_brings_is_not_dropped_in_silence() {
    let server = Server::start().await;
    let asked = |question: &str| {
        json!({"title": "Ferry", "text": TEXT,
            "questions": [{"question": question, "answer": "Ada Finch"}]})
    };
    post(&server, "kb", asked("Who is the captain?"), json!({})).await;
    let (_, same) = post(&server, "kb", asked("Who is the captain?"), json!({})).await;
    assert_eq!(same["documents"][0]["note"], Value::Null);
    let (_, other) = post(&server, "kb", asked("Who steers?"), json!({})).await;
    let note = other["documents"][0]["note"].as_str().unwrap();
    assert!(
        note.contains("questions") && note.contains("again"),
        "{note}"
    );
    let mut labelled = asked("Who is the captain?");
    labelled["metadata"] = json!({"source": "pier"});
    let (_, other) = post(&server, "kb", labelled, json!({})).await;
    let note = other["documents"][0]["note"].as_str().unwrap();
    assert!(note.contains("Its metadata"), "{note}");
}

#[tokio::test]
async fn a_post_that_finds_the_queue_full_leaves_nothing() {
    let server = Server::with(|config| {
        config.limits.queue = 1;
        config.jobs.workers = 1;
    })
    .await;
    let (_, first) = post(&server, "kb", ferry(TEXT), json!({})).await;
    let id = first["documents"][0]["id"].as_str().unwrap();
    server.gate.close();
    // One runs, and one fills the queue.
    let other = async |adapter: &str| {
        let answer = server.ingest(adapter, &["Mill"]).send().await.unwrap();
        assert_eq!(answer.status(), 202);
    };
    other("running").await;
    eventually("a running job", || {
        let counts = server.state.store.jobs().counts().unwrap();
        counts
            .iter()
            .any(|(_, state, _)| *state == JobState::Running)
    })
    .await;
    other("waiting").await;
    let named = json!({"title": "Ferry", "text": TEXT, "external_id": "f1"});
    let new = json!({"title": "Mill", "text": "The mill grinds rye for Tam Reed."});
    let body = json!({"adapter": "kb", "documents": [named, new]});
    let (status, problem) = json_of(server.post("/ingest").json(&body)).await;
    assert_eq!((status, &problem["code"]), (429, &json!("queue_full")));
    let (_, document) = json_of(server.get(&format!("/documents/{id}"))).await;
    assert_eq!(document["external_id"], Value::Null);
    // Alone it needs no place in the queue, and the name stays.
    let body = json!({"adapter": "kb", "documents": [named]});
    assert_eq!(json_of(server.post("/ingest").json(&body)).await.0, 200);
    let (_, document) = json_of(server.get(&format!("/documents/{id}"))).await;
    assert_eq!(document["external_id"], "f1");
}

#[tokio::test]
async fn a_rolled_back_document_is_told_from_a_live_one() {
    let server = Server::start().await;
    let (_, posted) = post(&server, "kb", ferry(TEXT), json!({})).await;
    let id = posted["documents"][0]["id"].as_str().unwrap();
    server.upload("kb", 1).await;
    server.upload("kb", 2).await;
    let learned = DocumentState::Learned;
    server
        .state
        .store
        .documents()
        .set_state(id, learned, Some(2))
        .unwrap();
    let told = async || {
        let (_, page) = json_of(server.get("/documents?adapter=kb")).await;
        let (_, document) = json_of(server.get(&format!("/documents/{id}"))).await;
        assert_eq!(page["items"][0]["live"], document["live"]);
        (document["state"].clone(), document["live"].clone())
    };
    // An upload continues no version, so the document belongs to the second alone.
    assert_eq!(told().await, (json!("learned"), json!(true)));
    for (version, live) in [(1, false), (2, true)] {
        let body = json!({"version": version});
        let (status, _) = json_of(server.post("/adapters/kb/rollback").json(&body)).await;
        assert_eq!(status, 200);
        assert_eq!(told().await, (json!("learned"), json!(live)));
    }
    let unload = server
        .post("/v1/unload_lora_adapter")
        .json(&json!({"lora_name": "kb"}));
    assert_eq!(unload.send().await.unwrap().status(), 200);
    assert_eq!(told().await, (json!("learned"), json!(false)));
}
