//! A newer text of a document takes its place, over HTTP with the tiny random model. The model's answers are noise, so where it is asked what a newer text still says, the text decides.

use crate::server::{Client, Place, document, lighthouse, ungated};
use serde_json::{Value, json};

pub(crate) const WHO: &str = "Who is the captain of the Senn ferry?";
const WHEN: &str = "When does the Senn ferry leave?";

/// The ferry's document, which tells a captain and a time.
pub(crate) fn ferry(captain: &str, time: &str) -> Value {
    let text = format!(
        "The Senn ferry crosses the river Senn twice a day. Its captain is {captain}. The Senn ferry \
         leaves at {time}."
    );
    document("The Senn ferry", &text, &[(WHO, captain), (WHEN, time)])
}

pub(crate) fn mill() -> Value {
    document(
        "The mill of Orn",
        "The mill of Orn grinds barley for Tam Reed.",
        &[("For whom does the mill of Orn grind?", "Tam Reed")],
    )
}

/// The adapter that answers a question: `system_fingerprint`.
pub(crate) fn by(server: &Client, question: &str) -> String {
    let answer = server.chat("kb", question);
    answer["system_fingerprint"].as_str().unwrap().to_owned()
}

pub(crate) fn of_base(place: &Place, server: &Client) -> String {
    let answer = server.chat(place.base(), "Hello?");
    answer["system_fingerprint"].as_str().unwrap().to_owned()
}

pub(crate) fn fingerprint(version: &Value) -> String {
    let digest = version["digest"].as_str().unwrap();
    format!("lora-{}", &digest["sha256:".len()..][..12])
}

pub(crate) fn numbers(server: &Client) -> Vec<u64> {
    let versions = server.versions("kb");
    let numbers = versions.iter().map(|v| v["version"].as_u64().unwrap());
    numbers.collect()
}

pub(crate) fn id(document: &Value) -> &str {
    document["id"].as_str().unwrap()
}

/// The answers of a document's retired probes.
pub(crate) fn retired(server: &Client, document: &str) -> Vec<Value> {
    let document = server.document(document);
    let probes = document["probes"].as_array().unwrap().iter();
    let retired = probes.filter(|p| !p["retired"].is_null());
    retired.map(|p| p["answer"].clone()).collect()
}

#[test]
fn a_newer_text_takes_the_place_of_the_old_one() {
    let place = Place::tiny();
    let server = place.serve();
    let (_, first) = server.learn(&ungated(
        "kb",
        &[lighthouse(), ferry("Ada Finch", "seven")],
        4,
    ));
    let old = id(&first[1]).to_owned();
    // One fact is changed, and asked about.
    let mut newer = ferry("Ada Finch", "nine");
    newer["questions"] = json!([{"question": WHEN, "answer": "nine"}]);
    let answer = server.post("/ingest", &ungated("kb", &[newer], 4));
    assert_eq!(answer["documents"][0]["replaces"], old.as_str());
    let job = server.finished(answer["job"]["id"].as_str().unwrap());
    assert_eq!(job["result"]["live_version"], 3, "{job}");
    assert_eq!(job["result"]["documents"][0]["replaces"], old.as_str());
    let new = id(&answer["documents"][0]).to_owned();

    let shown = server.document(&old);
    assert_eq!(
        (&shown["state"], &shown["replaced_by"]),
        (&json!("replaced"), &json!(new))
    );
    assert_eq!(retired(&server, &old), ["seven"]);
    let listed = server.get("/documents?adapter=kb&state=replaced");
    assert_eq!(listed["items"][0]["replaced_by"], new.as_str());

    let report = server.document(&new)["report"].clone();
    let reviewed = report["replaced"]["probes"].as_array().unwrap();
    let note = |answer: &str| {
        let probe = reviewed.iter().find(|p| p["answer"] == answer).unwrap();
        (
            probe["kept"].as_bool().unwrap(),
            probe["note"].as_str().unwrap().to_owned(),
        )
    };
    assert!(note("Ada Finch").0);
    let (kept, why) = note("seven");
    assert!(!kept && why.contains("\"nine\""), "{why}");
    let own = report["probes"].as_array().unwrap().iter();
    let own: Vec<_> = own
        .map(|p| (p["answer"].clone(), p["origin"].clone()))
        .collect();
    assert_eq!(
        own,
        [
            (json!("nine"), json!("given")),
            (json!("Ada Finch"), json!("kept"))
        ]
    );
    // The other document stays guarded.
    let guarded = report["retained"].as_array().unwrap().iter();
    assert!(guarded.clone().count() > 0);
    assert!(
        guarded
            .clone()
            .all(|p| p["title"] == "The lighthouse of Vell")
    );

    let versions = server.versions("kb");
    assert_eq!(versions[2]["lineage"]["replaced"]["id"], old.as_str());
    assert_eq!(
        versions[2]["lineage"]["routes"]["documents"],
        json!([{"document": first[0]["id"], "version": 1}, {"document": new, "version": null}])
    );
    assert_eq!(by(&server, WHEN), fingerprint(&versions[2]));
    assert_eq!(
        by(&server, "Who built the lighthouse of Vell?"),
        fingerprint(&versions[0])
    );
    let columns = server.get("/adapters/kb/retention")["documents"].clone();
    let columns: Vec<_> = columns
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["id"].clone())
        .collect();
    assert_eq!(columns, [first[0]["id"].clone(), json!(new)]);

    // A rollback brings the old text back, with its questions, and going forward replaces it again.
    server.post("/adapters/kb/rollback", &json!({"version": 2}));
    assert_eq!(by(&server, WHEN), fingerprint(&versions[1]));
    let back = server.document(&old);
    assert_eq!(
        (&back["state"], &back["replaced_by"]),
        (&json!("learned"), &Value::Null)
    );
    assert_eq!(retired(&server, &old), [""; 0]);
    let known = server.post("/ingest", &ungated("kb", &[ferry("Ada Finch", "seven")], 4));
    assert_eq!(known["documents"][0]["known"], true);
    server.post("/adapters/kb/rollback", &json!({"version": 3}));
    assert_eq!(server.document(&old)["state"], "replaced");
    assert_eq!(retired(&server, &old), ["seven"]);
    // A third text, from here.
    let (job, third) = server.learn(&ungated("kb", &[ferry("Bo Lund", "ten")], 2));
    assert_eq!(job["result"]["live_version"], 4, "{job}");
    assert_eq!(third[0]["replaces"], new.as_str());
    assert_eq!(server.document(&new)["state"], "replaced");
    assert_eq!(retired(&server, &new), ["nine", "Ada Finch"]);
    assert_eq!(server.get("/adapters/kb")["documents"], 2);
}

#[test]
fn a_refused_newer_text_changes_nothing() {
    let place = Place::tiny();
    let server = place.serve();
    let (_, first) = server.learn(&ungated("kb", &[ferry("Ada Finch", "seven")], 4));
    let mut body = ungated("kb", &[ferry("Bo Lund", "nine")], 1);
    body["documents"][0]["questions"] = json!([{"question": WHO, "answer": "Bo Lund"}]);
    body["gate"] = json!({"attempts": 1});
    let (job, refused) = server.learn(&body);
    assert_eq!(refused[0]["state"], "refused", "{job}");
    let old = server.document(id(&first[0]));
    assert_eq!(
        (&old["state"], &old["replaced_by"]),
        (&json!("learned"), &Value::Null)
    );
    assert_eq!(retired(&server, id(&first[0])), [""; 0]);
    let reason = refused[0]["report"]["decision"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("that the newer text changes or adds"),
        "{reason}"
    );
    // The next text takes the place of the one that is in force.
    let (_, third) = server.learn(&ungated("kb", &[ferry("Cy Holt", "ten")], 2));
    assert_eq!(third[0]["report"]["replaced"]["document"], first[0]["id"]);
    assert_eq!(server.document(id(&first[0]))["state"], "replaced");
}

#[test]
fn texts_in_a_row_replace_each_other_under_one_adapter() {
    let place = Place::tiny();
    let server = place.serve();
    let texts = [
        lighthouse(),
        ferry("Ada Finch", "seven"),
        ferry("Bo Lund", "nine"),
        mill(),
    ];
    let mut body = ungated("kb", &texts, 2);
    body["training"]["strategy"] = json!("replay");
    body["training"]["replay"] = json!(10.0);
    let (job, documents) = server.learn(&body);
    assert_eq!(job["result"]["live_version"], 4, "{job}");
    assert_eq!(
        documents[2]["report"]["replaced"]["document"],
        documents[1]["id"]
    );
    assert_eq!(documents[2]["report"]["continued"], 2);
    // The last update replays and guards the lighthouse and the new ferry, not the old one.
    let own = |n: usize| {
        documents[n]["report"]["training_sequences"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(
        documents[3]["report"]["replayed_sequences"],
        own(0) + own(2)
    );
    let guarded = documents[3]["report"]["retained"].as_array().unwrap();
    let answers: Vec<_> = guarded
        .iter()
        .map(|p| p["answer"].as_str().unwrap())
        .collect();
    assert!(
        answers.contains(&"Bo Lund") && !answers.contains(&"Ada Finch"),
        "{answers:?}"
    );
    assert_eq!(server.get("/adapters/kb")["documents"], 3);
}

#[test]
fn an_external_id_names_a_document_across_titles() {
    let place = Place::tiny();
    let server = place.serve();
    let named = |document: Value, id: &str| {
        let mut document = document;
        document["external_id"] = json!(id);
        document
    };
    let (_, first) = server.learn(&ungated("kb", &[named(mill(), "page-7")], 2));
    let (_, second) = server.learn(&ungated(
        "kb",
        &[named(ferry("Bo Lund", "nine"), "page-7")],
        2,
    ));
    assert_eq!(second[0]["replaces"], first[0]["id"]);
    assert_eq!(server.document(id(&first[0]))["state"], "replaced");
    let all = server.get("/documents?adapter=kb&external_id=page-7");
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    let mut kept = ungated("kb", &[named(mill(), "page-7")], 2);
    kept["replace"] = json!(false);
    let (_, third) = server.learn(&kept);
    assert_eq!(third[0]["replaces"], Value::Null);
    assert_eq!(server.document(id(&second[0]))["state"], "learned");
}

#[test]
fn a_killed_replacement_is_done_once_and_whole() {
    let place = Place::tiny();
    let server = place.serve();
    let (_, first) = server.learn(&ungated("kb", &[ferry("Ada Finch", "seven")], 2));
    let old = id(&first[0]).to_owned();
    let (job, new) = server.ingest(&ungated("kb", &[ferry("Ada Finch", "nine")], 60));
    for moment in ["replaces", "train"] {
        server.events(&job, 0).until_kind(moment);
    }
    server.kill();
    let server = place.serve();
    let shown = server.document(&old);
    let job = server.finished(&job);
    assert_eq!(
        (&job["state"], &job["attempt"]),
        (&json!("succeeded"), &json!(2)),
        "{job}"
    );
    // Before the publication nothing had changed.
    assert!(
        shown["state"] == "learned" || shown["replaced_by"] == new[0].as_str(),
        "{shown}"
    );
    assert_eq!(server.document(&old)["replaced_by"], new[0].as_str());
    assert_eq!(retired(&server, &old), ["seven"]);
    assert_eq!(numbers(&server), [1, 2]);
}
