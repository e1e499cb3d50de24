//! A data directory of an earlier build opens, answers, learns and rolls back as before.

use crate::server::{Place, document, ungated};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;

/// Written by commit d0c0210 (tests/fixtures/README.md).
const EARLIER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/data_d0c0210");

fn place() -> Place {
    let place = Place::tiny();
    place.fill(Path::new(EARLIER));
    place
}

#[test]
fn a_data_directory_of_an_earlier_build_goes_on() {
    let place = place();
    let server = place.serve();
    let by = |model: &str, question: &str| {
        let answer = server.chat(model, question);
        answer["system_fingerprint"].as_str().unwrap().to_owned()
    };
    // Each question is answered by the same adapter as in that build.
    let base = by(place.base(), "Hello?");
    assert_eq!(
        by("routed", "Who built the lighthouse?"),
        "lora-ca7c8d6ff36e"
    );
    let ferry = "Who is the captain of the ferry?";
    assert_eq!(by("routed", ferry), "lora-9853fc0b9cd6");
    assert_eq!(by("routed", "What is the capital of France?"), base);
    assert_eq!(by("single", ferry), "lora-2b6d095348e2");
    assert_eq!(by("kept", "left"), "lora-c4550bb19142");
    assert_eq!(by("writer", "left"), "lora-47c3034c4827");
    let documents = server.get("/documents?adapter=single");
    assert_eq!(documents["items"][0]["state"], "refused");
    assert_eq!(documents["items"][1]["score_after"], 0.0);

    // The third document continues each alias with its strategy and its earlier documents.
    let mill = document(
        "The mill of Orn",
        "The mill of Orn grinds barley for Tam Reed.",
        &[("For whom does the mill of Orn grind?", "Tam Reed")],
    );
    for (alias, replayed) in [("routed", 0), ("single", 1)] {
        let mut body = ungated(alias, std::slice::from_ref(&mill), 2);
        body["training"]["rank"] = json!(2);
        body["training"]["replay"] = json!(1.0);
        let (job, documents) = server.learn(&body);
        assert_eq!(job["result"]["live_version"], 3, "{job}");
        let report = &documents[0]["report"];
        assert_eq!(report["retention"]["probes"], 3, "{alias}");
        assert_eq!(report["replayed_sequences"], replayed, "{alias}");
    }
    let newest = server.versions("routed")[2]["lineage"].clone();
    assert_eq!(newest["routes"]["documents"].as_array().unwrap().len(), 3);
    assert_eq!(by("routed", ferry), "lora-9853fc0b9cd6");
    let retention = server.get("/adapters/routed/retention");
    assert_eq!(retention["documents"].as_array().unwrap().len(), 3);

    // What that build learned is known, and its texts have newer ones.
    for (alias, known) in [("routed", true), ("single", true)] {
        let ferry = "The ferry crosses the river Senn twice a day;\nits captain is Ada Finch.";
        let ferry = document("The Senn ferry", ferry, &[]);
        let answer = server.post("/ingest", &ungated(alias, &[ferry], 2));
        assert_eq!(answer["documents"][0]["known"], known, "{alias}");
    }
    let newer = "The ferry crosses the river Senn twice a day; its captain is Bo Lund.";
    let newer = document("The Senn ferry", newer, &[(ferry, "Bo Lund")]);
    let mut body = ungated("routed", &[newer], 2);
    body["training"]["rank"] = json!(2);
    let (job, documents) = server.learn(&body);
    assert_eq!(job["result"]["live_version"], 4, "{job}");
    let old = &documents[0]["report"]["replaced"];
    assert_eq!(old["probes"][0]["kept"], false, "{old}");

    // Rolls back.
    for (alias, before) in [
        ("routed", "lora-9853fc0b9cd6"),
        ("single", "lora-2b6d095348e2"),
    ] {
        server.post(
            &format!("/adapters/{alias}/rollback"),
            &json!({"version": 2}),
        );
        assert_eq!(by(alias, ferry), before);
    }
}

/// A renamed field must not read as an empty field: replay and routes would stop without notice.
#[test]
fn a_record_that_cannot_be_read_is_an_error_that_names_it() {
    let place = place();
    let database = Connection::open(place.database()).unwrap();
    let damage = |table: &str, column: &str, from: &str, to: &str, of: &str| {
        let sql = format!("UPDATE {table} SET {column} = replace({column}, ?1, ?2) WHERE {of}");
        assert!(database.execute(&sql, [from, to]).unwrap() > 0);
    };
    let sequences = ("\"training_sequences\":", "\"sequences\":");
    damage(
        "documents",
        "report",
        sequences.0,
        sequences.1,
        "alias = 'routed' AND version = 1",
    );
    let strategy = ("\"strategy\":", "\"way\":");
    damage(
        "versions",
        "lineage",
        strategy.0,
        strategy.1,
        "alias = 'single' AND number = 2",
    );
    damage("versions", "lineage", "{", "", "alias = 'kept'");
    drop(database);
    let server = place.serve();
    let question = json!({"messages": [{"role": "user", "content": "Who built the lighthouse?"}], "max_tokens": 2});
    let asked = |model: &str| {
        let mut body = question.clone();
        body["model"] = json!(model);
        server.try_post("/v1/chat/completions", &body).0
    };
    assert_eq!((asked("routed"), asked("single")), (500, 500));
    // A text that is no JSON stops neither the server nor a deletion.
    assert_eq!(asked("kept"), 500);
    assert_eq!(server.versions("kept").len(), 1);
    server.delete("/adapters/kept");
    assert_eq!(asked("kept"), 404);
    let logged = place.logged();
    assert!(logged.contains("the report of doc_"), "{logged}");
    assert!(logged.contains("the lineage of kept@1"), "{logged}");
    assert!(
        logged.contains("the lineage of single@2 cannot be read back"),
        "{logged}"
    );
    assert!(logged.contains("strategy"), "{logged}");
    // An update fails with the same error and moves nothing.
    let job = server.post(
        "/ingest?wait=60s",
        &ungated("routed", &[json!({"title": "A", "text": "B."})], 1),
    );
    assert_eq!(job["job"]["state"], "failed", "{job}");
    let message = job["job"]["error"]["message"].as_str().unwrap();
    assert!(message.contains("the report of doc_"), "{message}");
    assert_eq!(
        server.get("/adapters/routed")["live_version"],
        Value::from(2)
    );
}
