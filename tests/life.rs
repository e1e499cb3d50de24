//! The life of a document over HTTP with the tiny random model: a newer text takes its place, and a deletion unlearns
//! it. The model's answers are noise, so where it is asked what a newer text still says, the text decides.

use crate::server::{Client, Place, document, lighthouse, ungated};
use serde_json::{Value, json};

const WHO: &str = "Who is the captain of the Senn ferry?";
const WHEN: &str = "When does the Senn ferry leave?";

/// The ferry's document, which tells a captain and a time.
fn ferry(captain: &str, time: &str) -> Value {
    let text = format!(
        "The Senn ferry crosses the river Senn twice a day. Its captain is {captain}. The Senn ferry \
         leaves at {time}."
    );
    document("The Senn ferry", &text, &[(WHO, captain), (WHEN, time)])
}

fn mill() -> Value {
    document(
        "The mill of Orn",
        "The mill of Orn grinds barley for Tam Reed.",
        &[("For whom does the mill of Orn grind?", "Tam Reed")],
    )
}

/// The adapter that answers a question: `system_fingerprint`.
fn by(server: &Client, question: &str) -> String {
    let answer = server.chat("kb", question);
    answer["system_fingerprint"].as_str().unwrap().to_owned()
}

fn of_base(place: &Place, server: &Client) -> String {
    let answer = server.chat(place.base(), "Hello?");
    answer["system_fingerprint"].as_str().unwrap().to_owned()
}

fn fingerprint(version: &Value) -> String {
    let digest = version["digest"].as_str().unwrap();
    format!("lora-{}", &digest["sha256:".len()..][..12])
}

fn numbers(server: &Client) -> Vec<u64> {
    let versions = server.versions("kb");
    let numbers = versions.iter().map(|v| v["version"].as_u64().unwrap());
    numbers.collect()
}

fn id(document: &Value) -> &str {
    document["id"].as_str().unwrap()
}

/// The answers of a document's retired probes.
fn retired(server: &Client, document: &str) -> Vec<Value> {
    let document = server.document(document);
    let probes = document["probes"].as_array().unwrap().iter();
    let retired = probes.filter(|p| !p["retired"].is_null());
    retired.map(|p| p["answer"].clone()).collect()
}

fn deleted(server: &Client, document: &str) -> Value {
    let (status, body) = server.try_delete(&format!("/documents/{document}?wait=5m"));
    assert_eq!((status, &body["deleted"]), (200, &json!(true)), "{body}");
    assert_eq!(server.try_get(&format!("/documents/{document}")).0, 404);
    body
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

#[test]
fn a_deleted_document_leaves_the_routes_and_its_bytes_go() {
    let place = Place::tiny();
    let server = place.serve();
    let (_, documents) = server.learn(&ungated(
        "kb",
        &[lighthouse(), ferry("Ada Finch", "seven"), mill()],
        4,
    ));
    let [vell, senn, orn] = [0, 1, 2].map(|n| id(&documents[n]).to_owned());
    let before = server.versions("kb");
    assert_eq!(by(&server, WHO), fingerprint(&before[1]));
    let body = deleted(&server, &senn);
    assert_eq!(
        (&body["live_version"], &body["job"]),
        (&json!(4), &Value::Null),
        "{body}"
    );
    let report = &body["report"];
    assert_eq!(report["probes"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&report["forgotten"], &report["trainings"]),
        (&json!(true), &json!(0))
    );
    // The version that held it is gone with its bytes; nothing brings it back.
    assert_eq!(numbers(&server), [1, 3, 4]);
    assert_eq!(server.try_get("/adapters/kb/versions/2/weights").0, 404);
    assert_eq!(by(&server, WHO), of_base(&place, &server));
    assert_eq!(
        by(&server, "Who built the lighthouse of Vell?"),
        fingerprint(&before[0])
    );
    assert_eq!(server.get("/adapters/kb")["documents"], 2);
    server.post("/adapters/kb/rollback", &json!({"version": 3}));
    assert_eq!(by(&server, WHO), of_base(&place, &server));
    assert_eq!(
        by(&server, "For whom does the mill of Orn grind?"),
        fingerprint(&before[2])
    );
    let lineages = server.get("/adapters/kb/versions").to_string();
    assert!(!lineages.contains("ferry"), "{lineages}");
    let (status, problem) = server.try_delete(&format!("/documents/{senn}"));
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("document_not_found"))
    );

    // Without any document the alias is the base, and goes on from there.
    deleted(&server, &vell);
    deleted(&server, &orn);
    for question in [WHO, "Who built the lighthouse of Vell?"] {
        assert_eq!(by(&server, question), of_base(&place, &server));
    }
    assert_eq!(server.get("/adapters/kb")["documents"], 0);
    let (job, again) = server.learn(&ungated("kb", &[ferry("Ada Finch", "seven")], 4));
    assert_eq!(again[0]["state"], "learned", "{job}");
    let last = server.versions("kb").pop().unwrap();
    assert_eq!(last["lineage"]["strategy"], "route");
    assert_eq!(by(&server, WHO), fingerprint(&last));
    // A restart finds all of it as it was.
    server.kill();
    let server = place.serve();
    assert_eq!(by(&server, WHO), fingerprint(&last));
}

#[test]
fn under_one_adapter_the_other_documents_are_learned_again() {
    let place = Place::tiny();
    let server = place.serve();
    let mut body = ungated(
        "kb",
        &[lighthouse(), ferry("Ada Finch", "seven"), mill()],
        4,
    );
    body["training"]["strategy"] = json!("replay");
    let (_, documents) = server.learn(&body);
    let ids = [0, 1, 2].map(|n| id(&documents[n]).to_owned());
    let (status, accepted) = server.try_delete(&format!("/documents/{}", ids[1]));
    assert_eq!(
        (status, &accepted["deleted"]),
        (202, &json!(false)),
        "{accepted}"
    );
    assert!(accepted["estimate_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(accepted["job"]["kind"], "unlearn");
    let job = accepted["job"]["id"].as_str().unwrap();
    let (_, same) = server.try_delete(&format!("/documents/{}", ids[1]));
    if same["deleted"] == false {
        assert_eq!(same["job"]["id"], job);
    }
    let job = server.finished(job);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["result"]["live_version"], 4);
    let report = &job["result"]["report"];
    let own = |n: usize| {
        documents[n]["report"]["training_sequences"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(report["training_sequences"], own(0) + own(2));
    let kept = report["retained"].as_array().unwrap().iter();
    let kept: std::collections::HashSet<_> = kept.map(|p| p["title"].as_str().unwrap()).collect();
    assert_eq!(kept, ["The lighthouse of Vell", "The mill of Orn"].into());
    assert_eq!(report["retention"]["probes"], 3);
    // The likelihood of the deleted answers falls, that of the others does not.
    for probe in report["probes"].as_array().unwrap() {
        let of = |when: &str| probe[when]["logprob"].as_f64().unwrap();
        assert!(of("after") < of("before"), "{probe}");
    }
    assert_eq!(server.try_get(&format!("/documents/{}", ids[1])).0, 404);
    assert_eq!(numbers(&server), [1, 4]);
    let last = server.versions("kb").pop().unwrap();
    assert_eq!(last["lineage"]["source"], "unlearn");
    assert_eq!(last["parent"], 1);
    let versions = [&ids[0], &ids[2]].map(|d| server.document(d)["version"].clone());
    assert_eq!(versions, [1, 4]);
    assert_eq!(server.get("/adapters/kb")["documents"], 2);
    // The next document continues that version and guards what is left.
    let (job, fourth) = server.learn(&ungated("kb", &[ferry("Bo Lund", "nine")], 2));
    assert_eq!(job["result"]["live_version"], 5, "{job}");
    assert_eq!(fourth[0]["report"]["continued"], 4);
    assert_eq!(fourth[0]["report"]["retention"]["probes"], 3);
    assert_eq!(fourth[0]["replaces"], Value::Null);
    server.post("/adapters/kb/rollback", &json!({"version": 1}));
    assert_eq!(server.get("/adapters/kb")["documents"], 1);
}

#[test]
fn a_killed_deletion_goes_on_and_a_cancelled_one_changes_nothing() {
    let place = Place::tiny();
    let server = place.serve();
    let mut body = ungated("kb", &[lighthouse(), mill()], 80);
    body["training"]["strategy"] = json!("sequential");
    let (_, documents) = server.learn(&body);
    let [vell, orn] = [0, 1].map(|n| id(&documents[n]).to_owned());
    let path = format!("/documents/{vell}");
    let job_of = |(_, body): (u16, Value)| body["job"]["id"].as_str().unwrap().to_owned();
    let job = job_of(server.try_delete(&path));
    server.events(&job, 0).until_kind("train");
    server.post(&format!("/jobs/{job}/cancel"), &json!({}));
    assert_eq!(server.finished(&job)["state"], "cancelled");
    assert_eq!(server.document(&vell)["state"], "learned");
    assert_eq!(numbers(&server), [1, 2]);

    let job = job_of(server.try_delete(&path));
    server.events(&job, 0).until_kind("train");
    server.kill();
    let server = place.serve();
    let ended = server.finished(&job);
    assert_eq!(
        (&ended["state"], &ended["attempt"]),
        (&json!("succeeded"), &json!(2)),
        "{ended}"
    );
    assert_eq!(server.try_get(&path).0, 404);
    assert_eq!(numbers(&server), [3]);
    assert_eq!(server.document(&orn)["version"], 3);
    // The last one: the base answers, by the strategy that the alias had.
    let body = deleted(&server, &orn);
    assert_eq!(body["live_version"], 4);
    assert_eq!(
        by(&server, "For whom does the mill of Orn grind?"),
        of_base(&place, &server)
    );
    let (job, _) = server.learn(&ungated("kb", &[mill()], 2));
    assert_eq!(job["result"]["live_version"], 5, "{job}");
    let last = server.versions("kb").pop().unwrap();
    assert_eq!(last["lineage"]["strategy"], "sequential");
    assert_eq!(last["lineage"]["update"]["rank"], 4);
}

#[test]
fn what_is_not_in_force_is_just_deleted() {
    let place = Place::tiny();
    let server = place.serve();
    let (_, first) = server.learn(&ungated("kb", &[ferry("Ada Finch", "seven")], 2));
    let (_, second) = server.learn(&ungated("kb", &[ferry("Bo Lund", "nine")], 2));
    // The old text of a chain.
    let body = deleted(&server, id(&first[0]));
    assert_eq!(
        (&body["live_version"], &body["report"]),
        (&json!(2), &Value::Null)
    );
    assert_eq!(numbers(&server), [2]);
    assert_eq!(server.document(id(&second[0]))["state"], "learned");
    // A refused one.
    let mut absurd = ungated("kb", &[mill()], 1);
    absurd["gate"] = json!({"attempts": 1});
    let (_, refused) = server.learn(&absurd);
    assert_eq!(refused[0]["state"], "refused");
    deleted(&server, id(&refused[0]));
    assert_eq!(numbers(&server), [2]);
    // One that waits or is being learned is cancelled first.
    let (job, documents) = server.ingest(&ungated("kb", &[lighthouse()], 100));
    server.events(&job, 0).until_kind("train");
    let (status, problem) = server.try_delete(&format!("/documents/{}", documents[0]));
    assert_eq!((status, &problem["code"]), (409, &json!("document_busy")));
    assert!(
        problem["detail"].as_str().unwrap().contains(&job),
        "{problem}"
    );
    server.post(&format!("/jobs/{job}/cancel"), &json!({}));
    server.finished(&job);
    deleted(&server, &documents[0]);
    // One that only a version has that is not live.
    let (_, later) = server.learn(&ungated("kb", &[lighthouse()], 2));
    server.post("/adapters/kb/rollback", &json!({"version": 2}));
    let body = deleted(&server, id(&later[0]));
    assert_eq!(body["live_version"], 2);
    assert_eq!(numbers(&server), [2]);
    let (status, problem) = server.try_delete("/documents/doc_nobody");
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("document_not_found"))
    );
}
