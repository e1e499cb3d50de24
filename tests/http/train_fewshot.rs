//! Training a policy on few-shot tasks with the tiny random model.

use super::train::{contexts, events, finished, with};
use crate::common::{Server, json_of, merge};
use serde_json::{Value, json};

/// Tasks with demonstrations and the answers to their tests.
fn tasks(count: usize) -> Vec<Value> {
    let task = |i: usize| {
        let pair = |n: usize| json!({"input": [[n, i]], "output": [[i, n]]});
        json!({"title": format!("swap {i}"), "task": {"kind": "grid",
            "train": [pair(1), pair(2)], "test": [pair(3)]}})
    };
    (1..=count).map(task).collect()
}

fn fewshot() -> Value {
    json!({"domain": "fewshot", "policy": "writer", "contexts": tasks(3), "rounds": 1,
        "contexts_per_round": 2, "candidates": 2, "held_out": 1, "reward": "likelihood", "seed": 3,
        "fewshot": {"sequences": 4, "views": 2, "rank": 4, "alpha": 8.0},
        "policy_training": {"rank": 4, "alpha": 8.0, "epochs": 1}})
}

#[tokio::test]
async fn a_policy_practises_configurations_on_tasks() {
    let server = Server::start().await;
    let job = finished(&server, &fewshot()).await;
    assert_eq!(job["state"], "succeeded", "{job}");
    let settings = &job["result"]["settings"];
    assert_eq!(settings["fewshot"]["sequences"], 4);
    // The domain's own default, where the request says nothing.
    assert_eq!(settings["outer"]["keep"], "all_positive");
    let candidates = events(&server, &job, "candidate");
    assert_eq!(candidates.len(), 2 * 2, "{candidates:?}");
    for candidate in &candidates {
        let rate = candidate["edit"]["training"]["learning_rate"].as_f64();
        assert!(rate.is_some_and(|rate| rate > 0.0), "{candidate}");
    }
    // The policy learned from candidates with a gain, and the version names their contexts.
    let gained = candidates.iter().any(|c| c["reward"].as_f64() > Some(0.0));
    let (status, versions) = json_of(server.get("/adapters/writer/versions")).await;
    match gained {
        true => assert_eq!(versions["items"][0]["lineage"]["domain"], "fewshot"),
        false => assert_eq!(status, 404),
    }
}

#[tokio::test]
async fn tasks_come_from_a_dataset_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("tasks.json"), json!(tasks(3)).to_string()).unwrap();
    std::fs::write(path("passages.json"), json!(contexts(3)).to_string()).unwrap();
    let server = Server::with(|config| {
        for name in ["tasks", "passages", "missing"] {
            let file = path(&format!("{name}.json"));
            config.datasets.insert(name.into(), file);
        }
    })
    .await;
    let of = |name: &str| {
        let mut body = fewshot();
        body.as_object_mut().unwrap().remove("contexts");
        merge(&mut body, json!({"dataset": name}));
        body
    };
    let named = finished(&server, &of("tasks")).await;
    assert_eq!(named["state"], "succeeded", "{named}");
    let sent = finished(&Server::start().await, &fewshot()).await;
    let digest = |job: &Value| job["result"]["contexts_digest"].clone();
    assert!(digest(&named).is_string(), "{named}");
    assert_eq!(digest(&named), digest(&sent));
    for (name, field) in [("missing", "dataset"), ("passages", "dataset[0].text")] {
        let (status, problem) = json_of(server.post("/train").json(&of(name))).await;
        assert_eq!(
            (status, &problem["field"]),
            (422, &json!(field)),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn what_is_no_task_to_practise_on_is_refused_by_its_field() {
    let server = Server::start().await;
    let mut untitled = tasks(1);
    untitled[0]["title"] = json!(" ");
    let mut unanswered = tasks(1);
    unanswered[0]["task"]["test"] = json!([{"input": [[1]]}]);
    let mut ragged = tasks(1);
    ragged[0]["task"]["test"][0]["output"] = json!([[1], [2, 3]]);
    let mut shown = tasks(1);
    shown[0]["task"]["train"][1]["input"] = json!([[11]]);
    let cases = [
        (json!({"contexts": untitled}), "contexts[0].title"),
        (
            json!({"contexts": unanswered}),
            "contexts[0].task.test[0].output",
        ),
        (
            json!({"contexts": ragged}),
            "contexts[0].task.test[0].output",
        ),
        (
            json!({"contexts": shown}),
            "contexts[0].task.train[1].input",
        ),
        (json!({"contexts": contexts(2)}), "contexts[0].text"),
        (json!({"contexts": null}), "contexts"),
        (json!({"dataset": "squad"}), "dataset"),
        (json!({"grader": "exact"}), "grader"),
        (json!({"fewshot": {"views": 0}}), "views"),
        (json!({"fewshot": {"colour": 1}}), "fewshot.colour"),
        (json!({"fewshot": []}), "fewshot"),
        (json!({"baseline": "context_alone"}), "baseline"),
    ];
    for (more, field) in cases {
        let mut body = fewshot();
        merge(&mut body, more.clone());
        let (status, problem) = json_of(server.post("/train").json(&body)).await;
        assert_eq!(
            (status, &problem["field"]),
            (422, &json!(field)),
            "{more}: {problem}"
        );
    }
    let knowledge = with(json!({"fewshot": {"views": 2}}));
    let (status, problem) = json_of(server.post("/train").json(&knowledge)).await;
    assert_eq!((status, &problem["field"]), (422, &json!("fewshot")));
}
