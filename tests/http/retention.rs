//! The forgetting matrix over HTTP, and the budgets that a request may set.

use crate::common::{Server, json_of};
use autodidact::adapters::{AliasName, Lineage};
use autodidact::store::{
    DocumentState, GateVerdict, GeneralScore, NewProbe, ProbeOrigin, ProbeScore,
};
use serde_json::{Value, json};

/// Two learned documents with a probe each, asked as two updates ask them.
async fn taught() -> Server {
    let server = Server::start().await;
    server.upload("kb", 1).await;
    // The second continues the first, as an ingest's does.
    let registry = &server.state.registry;
    let first = registry.resolve("kb@1").unwrap().adapter.unwrap();
    let alias = AliasName::parse("kb").unwrap();
    let lineage = Lineage::Ingest(Box::default());
    let second = registry.publish(&alias, Some(1), &first.lora, &lineage);
    assert_eq!(second.unwrap().number, 2);
    let request = server
        .ingest("kb", &["One", "Two"])
        .query(&[("wait", "30s")]);
    let (status, body) = json_of(request).await;
    assert_eq!(status, 200);
    let store = &server.state.store;
    let mut probes = Vec::new();
    for (version, document) in (1..).zip(body["documents"].as_array().unwrap()) {
        let id = document["id"].as_str().unwrap();
        let probe = NewProbe {
            question: "Who?".into(),
            answer: "Ada".into(),
            origin: ProbeOrigin::Given,
        };
        let stored = store.probes().insert_many(id, "kb", &[probe]).unwrap();
        probes.push(stored[0].id.clone());
        let documents = store.documents();
        let learned = DocumentState::Learned;
        documents.set_state(id, learned, Some(version)).unwrap();
        documents.set_verdict(id, GateVerdict::Gentler).unwrap();
    }
    let cell = |probe: usize, version: u64, correct: bool| ProbeScore {
        probe_id: probes[probe].clone(),
        alias: "kb".into(),
        version,
        correct,
        logprob: Some(-1.5),
        answer: "said".into(),
    };
    let cells = [
        cell(0, 0, false),
        cell(0, 1, true),
        cell(1, 1, false),
        cell(0, 2, false),
        cell(1, 2, true),
    ];
    store.probes().record_scores(&cells).unwrap();
    let general = GeneralScore {
        version: 2,
        probes: 20,
        base_correct: 20,
        correct: 19,
    };
    store.probes().record_general("kb", general).unwrap();
    server
}

#[tokio::test]
async fn the_matrix_is_served_with_what_it_says() {
    let server = taught().await;
    let (status, body) = json_of(server.get("/adapters/kb/retention")).await;
    assert_eq!(status, 200, "{body}");
    let titles: Vec<&Value> = body["documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| &d["title"])
        .collect();
    assert_eq!(titles, ["One", "Two"]);
    assert_eq!(body["versions"], json!([0, 1, 2]));
    let score = |i: usize, j: usize| body["cells"][i][j]["score"].clone();
    assert_eq!(score(0, 0), 0.0);
    assert_eq!(body["cells"][0][1], Value::Null);
    assert_eq!((score(1, 0), score(1, 1)), (json!(1.0), json!(0.0)));
    assert_eq!((score(2, 0), score(2, 1)), (json!(0.0), json!(1.0)));
    assert_eq!(body["cells"][2][0]["probes"], 1);
    assert_eq!(body["mean"], json!([null, 1.0, 0.5]));
    assert_eq!(
        (&body["just_learned"], &body["final_row"]),
        (&json!(1.0), &json!(0.5))
    );
    assert_eq!(body["backward_transfer"], -1.0);
    assert_eq!(
        body["general"],
        json!([{"version": 2, "probes": 20, "base": 1.0, "score": 0.95}])
    );

    let (_, newest) = json_of(server.get("/adapters/kb/retention?limit=1")).await;
    assert_eq!(newest["versions"], json!([0, 2]));
    // Fewer rows, but the same summary.
    for of_all in [
        "just_learned",
        "final_row",
        "backward_transfer",
        "live_version",
    ] {
        assert_eq!(newest[of_all], body[of_all], "{of_all}");
    }

    let back = server
        .post("/adapters/kb/rollback")
        .json(&json!({"version": 1}));
    assert_eq!(json_of(back).await.0, 200);
    let (_, back) = json_of(server.get("/adapters/kb/retention")).await;
    let live = |i: usize| back["documents"][i]["live"].clone();
    assert_eq!((live(0), live(1)), (json!(true), json!(false)));
    assert_eq!(
        (&back["live_version"], &back["final_row"]),
        (&json!(1), &json!(1.0))
    );
    assert_eq!(back["backward_transfer"], Value::Null);
}

#[tokio::test]
async fn what_is_asked_wrongly_is_told() {
    let server = taught().await;
    for (path, status, code) in [
        ("/adapters/nobody/retention", 404, "adapter_not_found"),
        ("/adapters/No%20Name/retention", 422, "invalid_name"),
        ("/adapters/kb/retention?limit=0", 422, "invalid_field"),
        ("/adapters/kb/retention?limit=many", 422, "invalid_field"),
        ("/adapters/kb/retention?since=3", 422, "unknown_field"),
    ] {
        let (got, problem) = json_of(server.get(path)).await;
        assert_eq!(
            (got, &problem["code"]),
            (status, &json!(code)),
            "{path}: {problem}"
        );
    }
    let (status, _) = json_of(server.post("/adapters/kb/retention")).await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn an_unknown_strategy_or_a_budget_out_of_range_is_refused_by_name() {
    let server = Server::start().await;
    for (options, field) in [
        (
            json!({"gate": {"retention_budget": 1.5}}),
            "gate.retention_budget",
        ),
        (
            json!({"gate": {"general_budget": -0.1}}),
            "gate.general_budget",
        ),
        (
            json!({"gate": {"general_probes": 101}}),
            "gate.general_probes",
        ),
        (
            json!({"gate": {"general_probes": "all"}}),
            "gate.general_probes",
        ),
        (
            json!({"training": {"strategy": "hope"}}),
            "training.strategy",
        ),
    ] {
        let mut body = json!({"adapter": "kb", "documents": [{"title": "T", "text": "Text."}]});
        crate::common::merge(&mut body, options.clone());
        let (status, problem) = json_of(server.post("/ingest").json(&body)).await;
        assert_eq!(
            (status, &problem["field"]),
            (422, &json!(field)),
            "{options}: {problem}"
        );
    }
    let (_, documents) = json_of(server.get("/documents")).await;
    assert_eq!(documents["items"], json!([]), "nothing half-done");
}

#[tokio::test]
async fn verdicts_are_counted_and_stay_counted() {
    let server = taught().await;
    let counted = async || {
        let answer = server.get("/metrics").send().await.unwrap();
        let text = answer.text().await.unwrap();
        let of = |verdict: &str| -> u64 {
            let line = format!("autodidact_updates_total{{verdict=\"{verdict}\"}} ");
            let found = text.lines().find_map(|l| l.strip_prefix(&line));
            found
                .unwrap_or_else(|| panic!("no {line} in {text}"))
                .parse()
                .unwrap()
        };
        // Another test's server counts into the same process.
        assert!(of("gentler") >= 2);
        of("accepted");
        of("refused");
    };
    counted().await;
    let of_store = || {
        let documents = server.state.store.documents();
        (documents.verdicts().unwrap(), documents.counts().unwrap())
    };
    let before = of_store();
    assert_eq!(before.0, [(GateVerdict::Gentler, 2)]);
    let deleted = server.delete("/adapters/kb").send().await.unwrap();
    assert!(deleted.status().is_success());
    assert_eq!(of_store(), before);
}
