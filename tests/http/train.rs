//! Training a policy on the tiny random model: requests, results and refusals.

use crate::common::{Server, json_of, merge};
use serde_json::{Value, json};

/// Passages that the model cannot know, some with a question.
pub fn contexts(count: usize) -> Vec<Value> {
    let context = |i: usize| {
        json!({"title": format!("Lighthouse {i}"),
            "text": format!("The lighthouse of Vell {i} was built by Orr Hallam in 19{i}0."),
            "questions": [{"question": "Who built it?", "answer": "Orr Hallam"}]})
    };
    (1..=count).map(context).collect()
}

/// A run that is over in moments.
fn small() -> Value {
    json!({"domain": "knowledge", "policy": "writer", "contexts": contexts(4),
        "rounds": 2, "contexts_per_round": 2, "candidates": 2, "repeats": 2, "held_out": 1,
        "reward": "likelihood", "seed": 3,
        "training": {"rank": 4, "alpha": 8.0, "learning_rate": 0.003, "epochs": 2, "batch_size": 1},
        "policy_training": {"rank": 4, "alpha": 8.0, "epochs": 1}})
}

pub fn with(more: Value) -> Value {
    let mut body = small();
    merge(&mut body, more);
    body
}

pub async fn finished(server: &Server, body: &Value) -> Value {
    let answer = server.post("/train").json(body).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let body: Value = answer.json().await.unwrap();
    let id = body["job"]["id"].as_str().unwrap();
    assert_eq!(location, format!("/jobs/{id}"));
    assert_eq!(
        (&body["job"]["kind"], &body["job"]["adapter"]),
        (&json!("train"), &json!("writer"))
    );
    let patience = std::time::Duration::from_secs(300);
    server.state.jobs.wait(id, patience).await.unwrap();
    json_of(server.get(&location)).await.1
}

pub fn events(server: &Server, job: &Value, kind: &str) -> Vec<Value> {
    let id = job["id"].as_str().unwrap();
    let events = server.state.store.events().since(id, 0, 10_000).unwrap();
    let of_kind = events.into_iter().filter(|e| e.kind == kind);
    of_kind.map(|e| e.data).collect()
}

#[tokio::test]
async fn a_policy_practises_and_each_round_is_a_version() {
    let server = Server::start().await;
    let job = finished(&server, &small()).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let result = &job["result"];
    assert_eq!(result["versions"], json!([1, 2]));
    assert_eq!(result["notes"], json!([]));
    let stages = events(&server, &job, "progress");
    let first = stages.first().map(|e| &e["stage"]);
    assert_eq!(first, Some(&json!("asking")), "{stages:?}");
    assert_eq!(result["settings"]["outer"]["candidates"], 2);
    assert_eq!(result["settings"]["knowledge"]["training"]["epochs"], 2);
    let digest = result["contexts_digest"].as_str().unwrap();
    assert!(digest.starts_with("sha256:"));

    let candidates = events(&server, &job, "candidate");
    assert_eq!(candidates.len(), 2 * 2 * 2);
    for candidate in &candidates {
        assert!(candidate["seed"].is_u64());
        assert_eq!(candidate["repeats"].as_array().unwrap().len(), 2);
        assert_eq!(candidate["edit"]["seed"], candidate["seed"]);
    }
    assert_eq!(events(&server, &job, "round").len(), 2);
    assert_eq!(events(&server, &job, "held_out").len(), 3);

    let (_, versions) = json_of(server.get("/adapters/writer/versions")).await;
    let newest = &versions["items"][0];
    assert_eq!(
        (&newest["version"], &newest["parent"]),
        (&json!(2), &json!(1))
    );
    let lineage = &newest["lineage"];
    assert_eq!(lineage["source"], "train");
    assert_eq!(
        (&lineage["job"], &lineage["round"]),
        (&job["id"], &json!(2))
    );
    assert_eq!(lineage["contexts_digest"], digest);
    let score = &result["report"]["rounds"][1]["held_out"]["gain"]["mean"];
    assert_eq!(&lineage["score"], score);
    server.says("writer").await;

    // The same request on the next start of the alias goes on from what is live.
    let job = finished(&server, &with(json!({"rounds": 1}))).await;
    assert_eq!(job["result"]["started_from"], 2);
    assert_eq!(job["result"]["versions"], json!([3]));

    // The policy is scored on contexts that it has never practised on, even if their questions changed.
    let held_out = &result["report"]["held_out_contexts"];
    for seed in 4..7 {
        let mut more = with(json!({"rounds": 1, "seed": seed}));
        for context in more["contexts"].as_array_mut().unwrap() {
            context["questions"][0]["answer"] = json!("Orr");
        }
        let job = finished(&server, &more).await;
        assert_eq!(&job["result"]["report"]["held_out_contexts"], held_out);
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_numbers() {
    let rewards = |result: &Value| -> Vec<Value> {
        let rounds = result["report"]["rounds"].as_array().unwrap().clone();
        let candidates = |r: &Value| r["candidates"].as_array().unwrap().clone();
        let all = rounds.iter().flat_map(candidates);
        all.map(|c| json!([c["seed"], c["reward"], c["repeats"]]))
            .collect()
    };
    let run = async |body: Value| {
        let server = Server::start().await;
        finished(&server, &body).await["result"].clone()
    };
    let first = run(small()).await;
    assert_eq!(
        rewards(&first),
        rewards(&run(with(json!({"pack": 1}))).await)
    );
    assert_ne!(
        rewards(&first),
        rewards(&run(with(json!({"seed": 4}))).await)
    );
}

#[tokio::test]
async fn an_expected_reward_is_told_with_every_repeat() {
    let run = async |body: &Value| {
        let server = Server::start().await;
        let job = finished(&server, body).await;
        assert_eq!(job["state"], "succeeded", "{job}");
        let candidates = &job["result"]["report"]["rounds"][0]["candidates"];
        candidates.as_array().unwrap().clone()
    };
    let body = with(json!({"reward": "expected", "rounds": 1}));
    let candidates = run(&body).await;
    assert_eq!(candidates.len(), 2 * 2);
    for candidate in &candidates {
        assert!(candidate["reward"].is_number());
        assert_eq!(candidate["reward"], candidate["expected_gain"]);
        for repeat in candidate["repeats"].as_array().unwrap() {
            // Of eight answers to one question.
            let share = repeat["expected"].as_f64().unwrap();
            assert_eq!((share * 8.0).fract(), 0.0);
        }
    }
    let accuracy = run(&with(json!({"reward": "accuracy", "rounds": 1}))).await;
    assert!(accuracy[0]["repeats"][0]["expected"].is_null());
}

#[tokio::test]
async fn other_words_are_tried_by_turns_and_each_candidate_says_which() {
    let server = Server::start().await;
    let explore = json!({"self_edit": {"explore": ["rewrite", "chain-of-thought"]}, "candidates": 4, "rounds": 1,
        "baseline": "context_alone"});
    let job = finished(&server, &with(explore)).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(
        job["result"]["settings"]["outer"]["baseline"],
        "context_alone"
    );
    let candidates = events(&server, &job, "candidate");
    assert_eq!(candidates.len(), 2 * 4);
    for candidate in &candidates {
        let asked = ["", "rewrite", "chain-of-thought", ""];
        let asked = asked[candidate["candidate"].as_u64().unwrap() as usize];
        let edit = &candidate["edit"];
        assert_eq!(edit["asked_as"].as_str().unwrap_or_default(), asked);
        // The self-edit is a list of the practised kind, whoever wrote the instruction.
        assert_eq!(edit["kind"], "implications");
        assert_eq!(edit["seed"], candidate["seed"]);
    }
}

#[tokio::test]
async fn a_dataset_is_named_and_read_as_published() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("squad.json");
    let paragraphs: Vec<Value> = contexts(3)
        .iter()
        .map(|c| {
            json!({"context": c["text"], "qas": [{"id": "1", "question": "Who built it?",
            "answers": [{"text": "Orr Hallam", "answer_start": 0}]}]})
        })
        .collect();
    let squad =
        json!({"version": "1.1", "data": [{"title": "Light_houses", "paragraphs": paragraphs}]});
    std::fs::write(&path, squad.to_string()).unwrap();
    let server = Server::with(|config| {
        config.datasets.insert("squad".into(), path);
    })
    .await;
    let mut body = with(json!({"dataset": "squad", "rounds": 1, "halving": true}));
    body.as_object_mut().unwrap().remove("contexts");
    let job = finished(&server, &body).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(
        (&job["result"]["dataset"], &job["result"]["contexts"]),
        (&json!("squad"), &json!(3))
    );
    let dropped = events(&server, &job, "candidate");
    assert_eq!(dropped.iter().filter(|c| c["dropped"] == true).count(), 2);
    assert_eq!(dropped[0]["title"], "Light houses");
}

#[tokio::test]
async fn rows_of_a_dataset_are_gathered_by_passage() {
    let directory = tempfile::tempdir().unwrap();
    let rows: Vec<Value> = contexts(3)
        .iter()
        .flat_map(|c| {
            let row = |id: u64, question: &str, answers: &[&str]| {
                json!({"id": id.to_string(), "title": "Light_houses", "context": c["text"], "question": question,
                    "answers": {"text": answers, "answer_start": vec![0; answers.len()]}})
            };
            [
                row(1, "Who built it?", &["Orr Hallam"]),
                row(2, "Who burned it?", &[]),
                row(3, "By whom was it built?", &["Orr", "Orr Hallam", "Orr Hallam"]),
            ]
        })
        .collect();
    let path = directory.path().join("squad_v2.jsonl");
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    let wrong = directory.path().join("wrong.json");
    let mut misspelt = rows.clone();
    misspelt[1]["qestion"] = json!("Who?");
    std::fs::write(&wrong, json!(misspelt).to_string()).unwrap();
    let server = Server::with(|config| {
        config.datasets.insert("squad".into(), path);
        config.datasets.insert("wrong".into(), wrong);
    })
    .await;
    let of = |name: &str| {
        let mut body = with(json!({"dataset": name, "rounds": 1}));
        body.as_object_mut().unwrap().remove("contexts");
        body
    };
    let job = finished(&server, &of("squad")).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["result"]["contexts"], 3);
    let (status, problem) = json_of(server.post("/train").json(&of("wrong"))).await;
    assert_eq!((status, &problem["field"]), (422, &json!("dataset")));
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("[1]") && detail.contains("`qestion`"),
        "{detail}"
    );
}

#[tokio::test]
async fn an_ingest_does_not_wait_for_a_training() {
    let server = Server::start().await;
    let body = with(json!({"rounds": 100, "training": {"epochs": 100}}));
    let (status, answer) = json_of(server.post("/train").json(&body)).await;
    assert_eq!(status, 202);
    let id = answer["job"]["id"].as_str().unwrap();
    let (status, learned) = json_of(server.ingest("kb", &["One"]).query(&[("wait", "30s")])).await;
    assert_eq!(
        (status, &learned["job"]["state"]),
        (200, &json!("succeeded"))
    );
    let (_, job) = json_of(server.post(&format!("/jobs/{id}/cancel"))).await;
    assert_ne!(job["state"], "succeeded");
    let patience = std::time::Duration::from_secs(60);
    let job = server.state.jobs.wait(id, patience).await.unwrap();
    assert_eq!(job.state.as_str(), "cancelled");
}

#[tokio::test]
async fn the_same_key_is_the_same_job() {
    let server = Server::start().await;
    let send = async |key: &str, body: Value| {
        let request = server.post("/train").header("idempotency-key", key);
        json_of(request.json(&body)).await
    };
    let (_, first) = send("k1", small()).await;
    let (_, again) = send("k1", small()).await;
    assert_eq!(first["job"]["id"], again["job"]["id"]);
    let (status, refused) = send("k1", with(json!({"seed": 9}))).await;
    assert_eq!(
        (status, &refused["code"]),
        (422, &json!("idempotency_mismatch"))
    );
}

#[tokio::test]
async fn a_bad_request_is_told_its_field_and_stores_nothing() {
    let server = Server::with(|config| config.limits.documents_per_request = 5).await;
    let without = |field: &str| {
        let mut body = small();
        body.as_object_mut().unwrap().remove(field);
        body
    };
    let one = |context: Value| with(json!({"contexts": [context]}));
    let question = "words ".repeat(400);
    let cases = [
        (with(json!({"cadidates": 1})), "unknown_field", "cadidates"),
        (without("domain"), "missing_field", "domain"),
        (without("policy"), "missing_field", "policy"),
        (without("contexts"), "missing_field", "contexts"),
        (with(json!({"domain": "chess"})), "invalid_field", "domain"),
        (with(json!({"policy": "No Name"})), "invalid_name", "policy"),
        (with(json!({"policy": "tiny"})), "invalid_name", "policy"),
        (
            with(json!({"dataset": "squad"})),
            "invalid_field",
            "dataset",
        ),
        (with(json!({"contexts": []})), "invalid_field", "contexts"),
        (
            with(json!({"contexts": contexts(6)})),
            "invalid_field",
            "contexts",
        ),
        (
            one(json!({"title": "A"})),
            "missing_field",
            "contexts[0].text",
        ),
        (
            one(json!({"title": "A", "text": " "})),
            "invalid_field",
            "contexts[0].text",
        ),
        (
            one(json!({"title": "A", "text": "B", "tetx": "C"})),
            "unknown_field",
            "contexts[0].tetx",
        ),
        (
            one(
                json!({"title": "A", "text": "B", "questions": [{"question": question, "answer": "B"}]}),
            ),
            "invalid_field",
            "contexts[0].questions[0]",
        ),
        (with(json!({"rounds": 0})), "invalid_field", "rounds"),
        (with(json!({"rounds": -1})), "invalid_field", "rounds"),
        (
            with(json!({"candidates": 17})),
            "invalid_field",
            "candidates",
        ),
        (with(json!({"keep": "worst"})), "invalid_field", "keep"),
        (with(json!({"reward": "luck"})), "invalid_field", "reward"),
        (
            with(json!({"baseline": "none"})),
            "invalid_field",
            "baseline",
        ),
        (with(json!({"preset": "huge"})), "invalid_field", "preset"),
        (
            with(json!({"questions": "none"})),
            "invalid_field",
            "questions",
        ),
        (with(json!({"held_out": 4})), "invalid_field", "held_out"),
        (with(json!({"grader": "judge"})), "invalid_field", "grader"),
        (
            with(json!({"baseline": "context_alone", "halving": true})),
            "invalid_field",
            "halving",
        ),
        (with(json!({"training": []})), "invalid_field", "training"),
        (
            with(json!({"training": {"epohcs": 1}})),
            "unknown_field",
            "training.epohcs",
        ),
        (
            with(json!({"training": {"epochs": 0}})),
            "invalid_field",
            "training.epochs",
        ),
        (
            with(json!({"policy_training": {"rank": "big"}})),
            "invalid_field",
            "policy_training.rank",
        ),
        (
            with(json!({"self_edit": {"kind": "none"}})),
            "invalid_field",
            "self_edit.kind",
        ),
        (
            with(json!({"self_edit": {"explore": ["rewrite", "self-qa"]}})),
            "invalid_field",
            "self_edit.explore",
        ),
        (
            with(json!({"self_edit": {"explore": ["rewrite", "chain-of-thought"]}})),
            "invalid_field",
            "self_edit.explore",
        ),
        (
            with(json!({"self_edit": {"kind": "self-qa", "explore": ["rewrite"]}})),
            "invalid_field",
            "self_edit.explore",
        ),
        (
            with(json!({"self_edit": {"samples": 2}})),
            "unknown_field",
            "self_edit.samples",
        ),
        (
            with(json!({"reward": "rubric", "keep": "all_positive"})),
            "invalid_field",
            "keep",
        ),
        (
            with(json!({"reward": "rubric", "halving": true})),
            "invalid_field",
            "halving",
        ),
    ];
    for (body, code, field) in cases {
        let (status, answer) = json_of(server.post("/train").json(&body)).await;
        assert_eq!(
            (status, &answer["code"], &answer["field"]),
            (422, &json!(code), &json!(field)),
            "{answer}"
        );
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.ends_with('.'), "no sentence: {detail}");
    }
    let long = one(json!({"title": "A", "text": "word ".repeat(9000)}));
    let (status, answer) = json_of(server.post("/train").json(&long)).await;
    assert_eq!(
        (status, &answer["code"], &answer["field"]),
        (
            400,
            &json!("context_length_exceeded"),
            &json!("contexts[0].text")
        )
    );
    let json = server
        .post("/train")
        .header("content-type", "application/json");
    let (status, answer) = json_of(json.body("{\"domain\":")).await;
    assert_eq!((status, &answer["code"]), (400, &json!("malformed_json")));
    let (status, answer) = json_of(server.post("/train").body("practise!")).await;
    assert_eq!(
        (status, &answer["code"]),
        (415, &json!("unsupported_media_type"))
    );
    assert!(server.state.store.jobs().counts().unwrap().is_empty());
    assert_eq!(server.state.store.sweep_blobs().unwrap(), 0);
}

#[tokio::test]
async fn a_server_whose_gate_asks_a_judge_practises_by_words() {
    let server = Server::learning(json!({"gate": {"grader": "judge"}})).await;
    let job = finished(&server, &with(json!({"rounds": 1}))).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let asked = with(json!({"grader": "judge"}));
    let (status, problem) = json_of(server.post("/train").json(&asked)).await;
    assert_eq!((status, &problem["field"]), (422, &json!("grader")));
}
