//! A deleted document is unlearned, over HTTP with the tiny random model.

use crate::life::{WHO, by, ferry, fingerprint, id, mill, numbers, of_base};
use crate::server::{Client, Place, lighthouse, ungated};
use serde_json::{Value, json};

fn deleted(server: &Client, document: &str) -> Value {
    let (status, body) = server.try_delete(&format!("/documents/{document}?wait=5m"));
    assert_eq!((status, &body["deleted"]), (200, &json!(true)), "{body}");
    assert_eq!(server.try_get(&format!("/documents/{document}")).0, 404);
    body
}

#[test]
fn a_deleted_document_leaves_the_routes_and_its_bytes_go() {
    let place = Place::tiny();
    let server = place.serve();
    let (job, documents) = server.learn(&ungated(
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
    let job = server.job(id(&job));
    let told = job["result"]["documents"].as_array().unwrap();
    assert_eq!(told.len(), 2, "{job}");
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

#[test]
fn a_replaced_and_deleted_text_never_comes_back() {
    let place = Place::tiny();
    let server = place.serve();
    let sequential = |document: Value| {
        let mut body = ungated("kb", &[document], 2);
        body["training"]["strategy"] = json!("sequential");
        body
    };
    let (_, first) = server.learn(&sequential(ferry("Ada Finch", "seven")));
    let (_, mill) = server.learn(&sequential(mill()));
    let (_, second) = server.learn(&sequential(ferry("Bo Lund", "nine")));
    assert_eq!(server.document(id(&first[0]))["state"], "replaced");
    let live = by(&server, WHO);
    let body = deleted(&server, id(&first[0]));
    assert_eq!(body["live_version"], 3, "{body}");
    assert_eq!(numbers(&server), [3]);
    for gone in [1, 2] {
        let back = json!({"version": gone});
        let (status, problem) = server.try_post("/adapters/kb/rollback", &back);
        assert_eq!(status, 404, "{problem}");
        let path = format!("/adapters/kb/versions/{gone}/weights");
        assert_eq!(server.try_get(&path).0, 404);
    }
    // The other documents are known as before.
    assert_eq!(by(&server, WHO), live);
    assert_eq!(server.get("/adapters/kb")["documents"], 2);
    for document in [&mill[0], &second[0]] {
        let document = server.document(id(document));
        assert_eq!(
            (&document["state"], &document["version"]),
            (&json!("learned"), &json!(3))
        );
    }
}
