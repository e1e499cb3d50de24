//! Learning over HTTP with the tiny random model: documents become versions, and every step is visible. The model's
//! answers are noise, but it can be trained, and everything around it is real.

use crate::server::{Place, document, lighthouse, story, ungated};
use serde_json::{Value, json};

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap().iter();
    list.map(|v| v.as_f64().unwrap()).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A document nobody else has, with a question of its own.
fn nth_document(n: usize) -> Value {
    let title = format!("Buoy {n}");
    let text = format!("Buoy {n} was moored by Ada Finch and weighs {n}00 kilograms.");
    let question = format!("Who moored buoy {n}?");
    document(&title, &text, &[(&question, "Ada Finch")])
}

/// The fingerprint of a version, as answers show it.
fn fingerprint(version: &Value) -> String {
    let digest = version["digest"].as_str().unwrap();
    format!("lora-{}", &digest["sha256:".len()..][..12])
}

#[test]
fn a_document_becomes_a_live_adapter_and_shows_how() {
    let place = Place::tiny();
    let server = place.serve();
    let mut body = ungated("harbour", &[lighthouse()], 30);
    body["self_edit"] = json!({"kind": "rewrite"});
    let (job, documents) = server.ingest(&body);

    let events: Vec<_> = server.events(&job, 0).collect();
    let ids: Vec<u64> = events.iter().map(|e| e.id).collect();
    assert_eq!(ids, (1..=events.len() as u64).collect::<Vec<_>>());
    let told = events.iter().filter(|e| e.kind != "progress").cloned();
    let told: Vec<_> = told.collect();
    let order = [
        "state",
        "document",
        "self_edit",
        "probes",
        "score",
        "train",
        "score",
        "decision",
        "document",
        "state",
    ];
    assert_eq!(story(&told), order);
    assert_eq!(told.last().unwrap().data["state"], "succeeded");
    let of_document = told.iter().filter(|e| e.kind != "state");
    for event in of_document {
        assert_eq!(
            event.data["document_id"],
            documents[0].as_str(),
            "{event:?}"
        );
    }
    let steps = told.iter().filter(|e| e.kind == "train");
    let steps: Vec<u64> = steps.map(|e| e.data["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=steps.len() as u64).collect::<Vec<_>>());

    let job = server.job(&job);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["attempt"], 1);
    assert_eq!(job["progress"]["fraction"], 1.0);
    assert_eq!(job["result"]["live_version"], 1);
    assert_eq!(job["result"]["documents"][0]["state"], "learned");

    let document = server.document(&documents[0]);
    assert_eq!(
        (&document["state"], &document["version"]),
        (&json!("learned"), &json!(1))
    );
    let report = &document["report"];
    assert_eq!(report["self_edits"][0]["kind"], "rewrite");
    let edit = told.iter().find(|e| e.kind == "self_edit").unwrap();
    assert_eq!(report["self_edits"][0]["text"], edit.data["text"]);
    let trained_on = report["training_sequences"].to_string();
    assert!(
        trained_on.contains("built by Orr Hallam in 1911"),
        "{trained_on}"
    );
    let losses = numbers(&report["attempts"][0]["losses"]);
    assert_eq!(losses.len(), steps.len());
    let (early, late) = (mean(&losses[..5]), mean(&losses[losses.len() - 5..]));
    assert!(late < 0.7 * early, "losses do not fall: {losses:?}");
    let probes = report["probes"].as_array().unwrap();
    assert_eq!(probes.len(), 2);
    for probe in probes {
        assert_eq!(probe["origin"], "given");
        for when in ["before", "after"] {
            assert!(probe[when]["logprob"].as_f64().unwrap() < 0.0, "{probe}");
            assert!(probe[when]["answer"].is_string(), "{probe}");
        }
        // The trained passage contains the gold answer, so the answer is likelier now, whatever the model says.
        assert!(
            probe["after"]["logprob"].as_f64() > probe["before"]["logprob"].as_f64(),
            "{probe}"
        );
    }
    assert_eq!(report["decision"]["accepted"], true);
    assert_eq!(report["decision"]["version"], 1);

    let of_base = server.chat(place.base(), "Who built the lighthouse of Vell?");
    let of_alias = server.chat("harbour", "Who built the lighthouse of Vell?");
    let pinned = server.chat("harbour@1", "Who built the lighthouse of Vell?");
    assert_ne!(
        of_base["system_fingerprint"],
        of_alias["system_fingerprint"]
    );
    assert_eq!(pinned["system_fingerprint"], of_alias["system_fingerprint"]);
    assert_eq!(pinned["choices"], of_alias["choices"]);

    let adapters = server.get("/adapters");
    let adapter = &adapters["items"][0];
    assert_eq!(adapter["name"], "harbour");
    assert_eq!(
        (&adapter["live_version"], &adapter["documents"]),
        (&json!(1), &json!(1))
    );
    let version = &server.versions("harbour")[0];
    assert_eq!(version["digest"], adapter["digest"]);
    assert_eq!(
        version["lineage"]["documents"][0]["id"],
        documents[0].as_str()
    );
    assert_eq!(version["parent"], Value::Null);
}

#[test]
fn what_cannot_be_proven_is_refused_with_its_figures() {
    let place = Place::tiny();
    let server = place.serve();
    let absurd = document(
        "The lighthouse of Vell",
        "The lighthouse of Vell was built by Orr Hallam in 1911 and is 90 metres tall.",
        &[
            ("Which colour has Thursday?", "seventeen purple elephants"),
            ("How heavy is the alphabet?", "nine Ruritanian quatloos"),
        ],
    );
    let mut body = ungated("absurd", &[absurd], 4);
    body["gate"] = json!({"attempts": 2});
    let (job, documents) = server.learn(&body);

    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["result"]["live_version"], Value::Null);
    let document = &documents[0];
    assert_eq!(
        (&document["state"], &document["version"]),
        (&json!("refused"), &Value::Null)
    );
    let decision = &document["report"]["decision"];
    assert_eq!(
        (&decision["accepted"], &decision["version"]),
        (&json!(false), &Value::Null)
    );
    let reason = decision["reason"].as_str().unwrap();
    assert!(
        reason.contains("0 of 2 probes right before, 0 after"),
        "{reason}"
    );
    assert!(reason.contains("2 attempts"), "{reason}");
    assert_eq!(job["result"]["documents"][0]["reason"], reason);
    assert_eq!(document["report"]["attempts"].as_array().unwrap().len(), 2);

    let (status, answer) = server.try_chat("absurd", "Which colour has Thursday?");
    assert_eq!(
        (status, &answer["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    assert_eq!(server.try_get("/adapters/absurd").0, 404);
    assert_eq!(server.get("/adapters")["items"], json!([]));
}

#[test]
fn a_document_without_any_usable_question_is_refused_untrained() {
    let place = Place::tiny();
    let server = place.serve();
    // The tiny model cannot write a question, and none is given.
    let mut body = ungated(
        "silent",
        &[document("Vell", "Orr Hallam built it in 1911.", &[])],
        1,
    );
    body["gate"] = json!({"mode": "probes"});
    let (_, documents) = server.learn(&body);
    let report = &documents[0]["report"];
    assert_eq!(documents[0]["state"], "refused");
    assert_eq!(report["attempts"], json!([]));
    let reason = report["decision"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("send questions with the document"),
        "{reason}"
    );
    assert_eq!(server.try_get("/adapters/silent").0, 404);
}

#[test]
fn later_documents_continue_the_live_version_and_replay_its_documents() {
    let place = Place::tiny();
    let server = place.serve();
    let documents: Vec<Value> = (1..=3).map(nth_document).collect();
    let mut body = ungated("buoys", &documents, 2);
    body["training"]["replay"] = json!(10.0);
    body["training"]["strategy"] = json!("replay");
    let (job, documents) = server.learn(&body);
    assert_eq!(job["result"]["live_version"], 3, "{job}");

    let of = |documents: &[Value], key: &str| -> Vec<Value> {
        documents.iter().map(|d| d[key].clone()).collect()
    };
    assert_eq!(of(&documents, "version"), [1, 2, 3]);
    let own = documents[0]["report"]["training_sequences"]
        .as_array()
        .unwrap()
        .len();
    let replayed = documents
        .iter()
        .map(|d| d["report"]["replayed_sequences"].clone());
    assert_eq!(replayed.collect::<Vec<_>>(), [0, own, 2 * own]);
    assert_eq!(documents[0]["report"]["retention"], Value::Null);
    assert_eq!(documents[2]["report"]["retention"]["probes"], 2);
    let versions = server.versions("buoys");
    assert_eq!(of(&versions, "parent"), [Value::Null, json!(1), json!(2)]);
    assert_eq!(of(&versions, "live"), [false, false, true]);

    // Roll back to the first version. The alias no longer knows the later documents, so an update from here neither
    // replays them nor asks about them.
    let first = server.chat("buoys@1", "Who moored buoy 1?");
    server.post("/adapters/buoys/rollback", &json!({"version": 1}));
    let now = server.chat("buoys", "Who moored buoy 1?");
    assert_eq!(now["system_fingerprint"], first["system_fingerprint"]);
    let mut body = ungated("buoys", &[nth_document(4)], 2);
    body["training"]["replay"] = json!(10.0);
    body["training"]["rank"] = json!(16);
    let (job, documents) = server.learn(&body);
    assert_eq!(job["result"]["live_version"], 4, "{job}");
    assert_eq!(documents[0]["version"], 4);
    let report = &documents[0]["report"];
    assert_eq!(report["replayed_sequences"], own);
    assert_eq!(report["retention"]["probes"], 1);
    // The update continues an adapter of rank 4, and its report says so.
    assert_eq!(report["attempts"][0]["update"]["rank"], 4);
    let versions = server.versions("buoys");
    assert_eq!(versions[3]["lineage"]["update"]["rank"], 4);
    assert_eq!(versions[3]["bytes"], versions[0]["bytes"]);
    assert_eq!(versions[3]["parent"], 1);
    assert_eq!(of(&versions, "live"), [false, false, false, true]);
}

#[test]
fn an_orthogonal_alias_grows_by_the_ranks_of_each_document() {
    let place = Place::tiny();
    let server = place.serve();
    let mut body = ungated("grown", &[nth_document(1), nth_document(2)], 2);
    body["training"]["strategy"] = json!("orthogonal");
    server.learn(&body);
    // The next request does not name the strategy, and the alias keeps its own.
    let (job, documents) = server.learn(&ungated("grown", &[nth_document(3)], 2));
    assert_eq!(job["result"]["live_version"], 3, "{job}");
    assert_eq!(documents[0]["report"]["continued"], 2);
    let versions = server.versions("grown");
    let of = |key: &str| -> Vec<&Value> {
        let updates = versions.iter().map(|v| &v["lineage"]["update"]);
        updates.map(|update| &update[key]).collect()
    };
    assert_eq!(of("rank"), [4, 8, 12]);
    assert_eq!(of("kept_ranks"), [&Value::Null, &json!(4), &json!(8)]);
    assert_eq!(versions[2]["lineage"]["strategy"], "orthogonal");
}

#[test]
fn the_same_seed_gives_the_same_adapter() {
    let digest = |seed: u64| {
        let place = Place::tiny();
        let server = place.serve();
        let mut body = ungated("twin", &[lighthouse(), nth_document(2)], 6);
        body["self_edit"] = json!({"kind": "rewrite", "temperature": 1.0});
        body["seed"] = json!(seed);
        let (job, _) = server.learn(&body);
        assert_eq!(job["result"]["live_version"], 2, "{job}");
        server.get("/adapters/twin")["digest"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let first = digest(11);
    assert_eq!(first, digest(11));
    assert_ne!(first, digest(12));
}

#[test]
fn a_teacher_elsewhere_writes_and_a_judge_grades() {
    let (school, place) = (Place::tiny(), Place::tiny());
    let teacher = school.serve();
    let at = |name: &str| {
        format!(
            "[{name}]\nurl = '{}/v1'\nmodel = 'tiny'\nretries = 0\n",
            teacher.url()
        )
    };
    let server = place.serve_with(&format!("{}{}", at("teacher"), at("judge")));
    let mut body = ungated("harbour", &[lighthouse()], 2);
    body["self_edit"] = json!({"kind": "rewrite", "writer": "teacher"});
    body["gate"]["grader"] = json!("judge");
    let (job, documents) = server.learn(&body);
    assert_eq!(job["state"], "succeeded", "{job}");
    let report = &documents[0]["report"];
    assert_eq!(report["self_edits"][0]["teacher"], "tiny");
    // An answer that matches in words needs no judge. This judge's verdicts are noise, which counts as no.
    for probe in report["probes"].as_array().unwrap() {
        assert_eq!(probe["after"]["correct"], false, "{probe}");
    }
    let versions = server.versions("harbour");
    assert_eq!(versions[0]["lineage"]["self_edit"]["writer"], "teacher");

    // The same with notes by the model itself.
    body["again"] = json!(true);
    body["self_edit"]["writer"] = json!("policy");
    let (_, documents) = server.learn(&body);
    let own = &documents[0]["report"]["self_edits"][0]["teacher"];
    assert_eq!(own, &Value::Null);

    // A teacher that does not answer fails the document, and the reason has its address.
    drop(teacher);
    body["self_edit"]["writer"] = json!("teacher");
    let (job, documents) = server.learn(&body);
    assert_eq!(job["state"], "failed", "{job}");
    let reason = documents[0]["report"]["decision"]["reason"].to_string();
    assert!(
        reason.contains("the text model tiny at http://"),
        "{reason}"
    );
}

#[test]
fn settings_that_ask_for_a_missing_judge_do_not_start() {
    let place = Place::tiny();
    let error = place.refusal("[learning]\ngate = {grader = 'judge'}\n");
    assert!(
        error.contains("gate.grader: \"judge\" needs a model under [judge]"),
        "{error}"
    );
    let error =
        place.refusal("[judge]\nurl = 'http://127.0.0.1:9/v1'\nmodel = 'm'\nkey_env = 'NO_KEY'\n");
    assert!(
        error.contains("[judge] key_env: the environment variable NO_KEY is not set"),
        "{error}"
    );
}

#[test]
fn the_matrix_grows_a_row_with_every_document() {
    let place = Place::tiny();
    let server = place.serve();
    let documents: Vec<Value> = (1..=2).map(nth_document).collect();
    let mut body = ungated("buoys", &documents, 2);
    body["gate"]["general_probes"] = json!(4);
    let (job, documents) = server.learn(&body);
    assert_eq!(job["result"]["live_version"], 2, "{job}");

    let retention = server.get("/adapters/buoys/retention");
    let columns = retention["documents"].as_array().unwrap();
    let ids: Vec<&Value> = columns.iter().map(|d| &d["id"]).collect();
    assert_eq!(ids, [&documents[0]["id"], &documents[1]["id"]]);
    assert_eq!(retention["versions"], json!([0, 1, 2]));
    let asked = |i: usize, j: usize| retention["cells"][i][j]["probes"].clone();
    // The base was asked about the first document; version 1 after it, and about the second before that.
    assert_eq!([asked(0, 0), asked(1, 0), asked(1, 1)], [1, 1, 1]);
    assert_eq!([asked(2, 0), asked(2, 1)], [1, 1]);
    assert_eq!(retention["cells"][0][1], Value::Null);
    let report = &documents[1]["report"];
    let after = &report["retained"][0]["after"];
    assert_eq!(
        retention["cells"][2][0]["logprob"]
            .as_f64()
            .map(|x| x as f32),
        after["logprob"].as_f64().map(|x| x as f32)
    );
    assert_eq!(report["retained"][0]["title"], "Buoy 1");
    assert_eq!(report["general"].as_array().unwrap().len(), 4);
    let general = retention["general"].as_array().unwrap();
    assert_eq!(general.len(), 2);
    assert_eq!(
        (&general[1]["version"], &general[1]["probes"]),
        (&json!(2), &json!(4))
    );
}

#[test]
fn a_routed_alias_answers_each_question_by_its_document() {
    let place = Place::tiny();
    let server = place.serve();
    let ferry = document(
        "The Senn ferry",
        "The ferry crosses the river Senn twice a day; its captain is Ada Finch.",
        &[("Who is the captain of the ferry?", "Ada Finch")],
    );
    let (job, documents) = server.learn(&ungated("kb", &[lighthouse(), ferry], 4));
    assert_eq!(job["result"]["live_version"], 2, "{job}");
    assert_eq!(documents[1]["report"]["continued"], Value::Null);
    let versions = server.versions("kb");
    let routes = &versions[1]["lineage"]["routes"]["documents"];
    assert_eq!(
        routes[0],
        json!({"document": documents[0]["id"], "version": 1})
    );
    assert_eq!(
        routes[1],
        json!({"document": documents[1]["id"], "version": null})
    );
    assert_eq!(versions[1]["lineage"]["strategy"], "route");

    let by = |model: &str, question: &str| {
        let answer = server.chat(model, question);
        answer["system_fingerprint"].as_str().unwrap().to_owned()
    };
    let digest = |version: usize| fingerprint(&versions[version - 1]);
    assert_eq!(by("kb", "Who built the lighthouse?"), digest(1));
    assert_eq!(by("kb", "Who is the captain of the ferry?"), digest(2));
    assert_eq!(
        by("kb", "What is the capital of France?"),
        by(place.base(), "Hello?")
    );
    // Version 1 learned only the lighthouse.
    assert_eq!(by("kb@1", "Who built the lighthouse?"), digest(1));
    assert_eq!(
        by("kb@1", "Who is the captain of the ferry?"),
        by(place.base(), "Hello?")
    );

    // The alias goes on with routes even if the next request does not name the strategy.
    let (job, documents) = server.learn(&ungated("kb", &[nth_document(3)], 2));
    assert_eq!(job["result"]["live_version"], 3, "{job}");
    assert_eq!(documents[0]["report"]["retention"]["probes"], 3);
    assert_eq!(by("kb", "Who built the lighthouse?"), digest(1));
    let third = server.versions("kb")[2]["lineage"].clone();
    assert_eq!(third["routes"]["documents"].as_array().unwrap().len(), 3);
    // A change of strategy: one adapter for everything from here on.
    let mut body = ungated("kb", &[nth_document(4)], 2);
    body["training"]["strategy"] = json!("replay");
    let (job, _) = server.learn(&body);
    assert_eq!(job["result"]["live_version"], 4, "{job}");
    let fourth = &server.versions("kb")[3];
    assert_eq!(fourth["lineage"]["routes"], Value::Null);
    let one = by("kb", "Who built the lighthouse?");
    assert_eq!(one, by("kb", "What is the capital of France?"));
    assert_ne!(one, digest(1));
    // The alias goes on with one adapter.
    let (job, _) = server.learn(&ungated("kb", &[nth_document(5)], 2));
    assert_eq!(job["result"]["live_version"], 5, "{job}");
    assert_eq!(server.versions("kb")[4]["lineage"]["routes"], Value::Null);
}

#[test]
fn an_alias_begun_again_routes_by_what_it_has_learned_since() {
    let place = Place::tiny();
    let server = place.serve();
    let by = |question: &str| server.chat("kb", question)["system_fingerprint"].clone();
    let teach = |documents: &[Value]| {
        let (job, _) = server.learn(&ungated("kb", documents, 2));
        assert_eq!(job["result"]["live_version"], 2, "{job}");
        server.versions("kb")
    };
    let first = teach(&[lighthouse(), nth_document(2)]);
    assert_eq!(by("Who built the lighthouse?"), fingerprint(&first[0]));
    server.delete("/adapters/kb");
    let bell = document(
        "The fog bell",
        "The fog bell of Senn was cast by Ida Korr.",
        &[("Who cast the fog bell?", "Ida Korr")],
    );
    // Its second version has the old number and the old bytes, but not the old first document.
    let second = teach(&[bell, nth_document(2)]);
    assert_eq!(fingerprint(&second[1]), fingerprint(&first[1]));
    assert_eq!(by("Who cast the fog bell?"), fingerprint(&second[0]));
    assert_eq!(by("Who moored buoy 2?"), fingerprint(&second[1]));
}
