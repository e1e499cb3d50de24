//! Adapting from examples with the tiny model. Its answers are noise; the tests check everything else.

use crate::common::{BASE, Server, eventually, json_of, merge};
use serde_json::{Value, json};

/// Small and quick; of its training only the plumbing matters.
fn grid_task() -> Value {
    json!({"kind": "grid",
        "train": [
            {"input": [[1, 2], [3, 4]], "output": [[3, 1], [4, 2]]},
            {"input": [[5, 6], [7, 8]], "output": [[7, 5], [8, 6]]},
            {"input": [[0, 1], [1, 0]], "output": [[1, 0], [0, 1]]},
        ],
        "test": [{"input": [[9, 1], [2, 3]]}]})
}

fn text_task() -> Value {
    json!({"kind": "text",
        "train": [
            {"input": "weather in Vell", "output": "{\"tool\": \"weather\", \"place\": \"Vell\"}"},
            {"input": "time in Orr", "output": "{\"tool\": \"time\", \"place\": \"Orr\"}"},
        ],
        "test": [{"input": "time in Vell"}, {"input": "weather in Orr"}]})
}

fn edit() -> Value {
    json!({"data_generation": {"use_basic_augmentations": false},
        "training": {"strategy": "train_using_output_tokens", "learning_rate": 0.001,
            "num_train_epochs": 1}})
}

fn body(task: Value, more: Value) -> Value {
    let mut body = json!({"task": task, "budget": {"seconds": 5}});
    merge(&mut body, more);
    body
}

#[tokio::test]
async fn a_grid_task_is_answered_and_its_adapter_is_asked_on() {
    let server = Server::start().await;
    let body = body(
        grid_task(),
        json!({"self_edit": edit(), "keep": {"ttl": "10m"}}),
    );
    let answer = server
        .post("/adapt?wait=2m")
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let answer: Value = answer.json().await.unwrap();
    let (job, result) = (&answer["job"], &answer["result"]);
    assert_eq!(
        (&job["kind"], &job["state"]),
        (&json!("adapt"), &json!("succeeded")),
        "{job}"
    );
    assert_eq!(location, format!("/jobs/{}", job["id"].as_str().unwrap()));
    let prediction = &result["predictions"][0];
    let attempts = prediction["attempts"].as_array().unwrap();
    assert!(attempts.len() <= 2);
    let votes: u64 = attempts.iter().map(|a| a["votes"].as_u64().unwrap()).sum();
    assert!(votes <= prediction["views"].as_u64().unwrap());
    assert_eq!(result["self_edit"]["training"]["num_train_epochs"], 1);
    assert_eq!(result["tried"][0]["origin"], "given");
    assert!(result["training"]["tokens"].as_u64().unwrap() > 0);
    assert!(result["expires_at"].is_string());

    // The adapter answers, and says what made it.
    let adapter = answer["adapter"].as_str().unwrap();
    assert!(adapter.starts_with("adapt-"));
    assert_eq!(result["adapter"], adapter);
    let chat = server.chat(adapter, json!({})).await;
    assert_eq!(chat.status(), 200);
    let (_, versions) = json_of(server.get(&format!("/adapters/{adapter}/versions"))).await;
    let lineage = &versions["items"][0]["lineage"];
    assert_eq!(
        (&lineage["source"], &lineage["job"]),
        (&json!("adapt"), &job["id"])
    );
    assert_eq!(lineage["expires_at"], result["expires_at"]);
    // The job holds the same result as the answer.
    let (_, job) = json_of(server.get(&location)).await;
    assert_eq!(&job["result"], result);
}

#[tokio::test]
async fn the_model_writes_configurations_that_parse_though_it_writes_noise() {
    let server = Server::start().await;
    let more = json!({"keep": {"alias": "tools"}, "budget": {"seconds": 60, "candidates": 2}});
    let request = server.post("/adapt?wait=2m").json(&body(text_task(), more));
    let (status, answer) = json_of(request).await;
    assert_eq!(
        (status, &answer["job"]["state"]),
        (200, &json!("succeeded")),
        "{answer}"
    );
    let result = &answer["result"];
    let tried = result["tried"].as_array().unwrap();
    assert!(
        !tried.is_empty() && tried.iter().all(|t| t["origin"] == "written"),
        "{tried:?}"
    );
    assert_eq!(tried.iter().filter(|t| t["chosen"] == true).count(), 1);
    assert_eq!(result["predictions"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&answer["adapter"], &result["expires_at"]),
        (&json!("tools"), &Value::Null)
    );

    // A kept adapter may be trained further under its own name. Any other adapter under this name would replace it.
    let taken = body(
        text_task(),
        json!({"keep": {"alias": "tools"}, "self_edit": edit()}),
    );
    let (status, problem) = json_of(server.post("/adapt").json(&taken)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("adapter_exists")));
    assert_eq!(problem["field"], "keep.alias");
    let mut further = taken;
    further["adapter"] = json!("tools");
    let (status, answer) = json_of(server.post("/adapt?wait=2m").json(&further)).await;
    assert_eq!(
        (status, &answer["result"]["version"]),
        (200, &json!(2)),
        "{answer}"
    );
}

#[tokio::test]
async fn without_waiting_there_is_a_job_and_once_for_each_key() {
    let server = Server::start().await;
    let body = body(grid_task(), json!({"self_edit": edit()}));
    let post = async |key: &str, body: &Value| {
        let request = server.post("/adapt").header("idempotency-key", key);
        json_of(request.json(body)).await
    };
    let (first, again) = (post("k", &body).await, post("k", &body).await);
    assert_eq!((first.0, again.0), (202, 202));
    assert_eq!(first.1["job"]["id"], again.1["job"]["id"]);
    assert_eq!(first.1["adapter"], again.1["adapter"]);
    assert_eq!(first.1["result"], Value::Null);
    let mut other = body.clone();
    other["seed"] = json!(1);
    let (status, problem) = post("k", &other).await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("idempotency_mismatch"))
    );
}

#[tokio::test]
async fn every_bad_field_is_named_and_nothing_is_half_done() {
    let server = Server::start().await;
    let set = |path: &str, value: Value| {
        let more = json!({"self_edit": edit(), "keep": {"ttl": "10m"}, "adapter": null});
        let mut body = body(grid_task(), more);
        let (parent, leaf) = path.rsplit_once('/').unwrap();
        match (body.pointer_mut(parent).unwrap(), leaf.parse::<usize>()) {
            (Value::Array(list), Ok(n)) => list[n] = value,
            (object, _) => object[leaf] = value,
        }
        body
    };
    let pair = |input: Value| json!({"input": input, "output": [[1]]});
    let many = |n: usize| Value::from(vec![pair(json!([[1]])); n]);
    let cases = [
        ("/task", json!([]), "task"),
        ("/task/kind", json!("image"), "task.kind"),
        ("/task/colour", json!(1), "task.colour"),
        ("/task/train", json!({}), "task.train"),
        ("/task/train", many(0), "task.train"),
        ("/task/train", many(33), "task.train"),
        ("/task/test", many(17), "task.test"),
        ("/task/train/1", json!([[[1]], [[1]]]), "task.train[1]"),
        (
            "/task/train/1",
            json!({"input": [[1]]}),
            "task.train[1].output",
        ),
        (
            "/task/train/1",
            json!({"input": [[1]], "output": [[1]], "x": 1}),
            "task.train[1].x",
        ),
        ("/task/train/0", pair(json!([])), "task.train[0].input"),
        (
            "/task/train/0",
            pair(json!([[1, 2], [3]])),
            "task.train[0].input",
        ),
        ("/task/train/0", pair(json!([[10]])), "task.train[0].input"),
        ("/task/train/0", pair(json!("12")), "task.train[0].input"),
        (
            "/task/train/0",
            pair(json!(vec![vec![1; 31]])),
            "task.train[0].input",
        ),
        (
            "/task/test/0",
            json!({"output": [[1]]}),
            "task.test[0].input",
        ),
        (
            "/task/test/0",
            json!({"input": [[-1]]}),
            "task.test[0].input",
        ),
        ("/self_edit", json!([]), "self_edit"),
        (
            "/self_edit/training/optimizer",
            json!("sgd"),
            "self_edit.training.optimizer",
        ),
        (
            "/self_edit/training/learning_rate",
            json!(1.0),
            "self_edit.training.learning_rate",
        ),
        (
            "/self_edit/training/num_train_epochs",
            json!(0),
            "self_edit.training.num_train_epochs",
        ),
        (
            "/self_edit/training/strategy",
            json!("luck"),
            "self_edit.training.strategy",
        ),
        (
            "/self_edit/data_generation/use_basic_augmentations",
            json!(1),
            "self_edit.data_generation.use_basic_augmentations",
        ),
        ("/budget/seconds", json!(0.5), "budget.seconds"),
        ("/budget/seconds", json!(1e9), "budget.seconds"),
        ("/budget/candidates", json!(0), "budget.candidates"),
        ("/budget/candidates", json!(17), "budget.candidates"),
        ("/budget/money", json!(1), "budget.money"),
        ("/budget", json!([5, 1]), "budget"),
        ("/keep", json!(["kept"]), "keep"),
        ("/keep/ttl", json!("1.5h"), "keep.ttl"),
        ("/keep/ttl", json!("31d"), "keep.ttl"),
        ("/keep/ttl", json!("0s"), "keep.ttl"),
        ("/keep/alias", json!("kb"), "keep"),
        ("/keep", json!({"alias": "No Name"}), "keep.alias"),
        ("/keep", json!({"alias": "tiny"}), "keep.alias"),
        ("/keep/forever", json!(true), "keep.forever"),
        ("/adapter", json!("Upper"), "adapter"),
        ("/adapter", json!("tiny"), "adapter"),
        ("/seed", json!(-1), "seed"),
        ("/colour", json!("red"), "colour"),
    ];
    for (path, value, field) in cases {
        let request = server.post("/adapt").json(&set(path, value.clone()));
        let (status, problem) = json_of(request).await;
        assert_eq!(
            (status, &problem["field"]),
            (422, &json!(field)),
            "{path} {value}: {problem}"
        );
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    let missing = set("/adapter", json!("nobody"));
    let (status, problem) = json_of(server.post("/adapt").json(&missing)).await;
    assert_eq!(
        (status, &problem["field"]),
        (404, &json!("adapter")),
        "{problem}"
    );

    for (input, output) in [(" ", "x"), ("x", "")] {
        let train = json!([{"input": input, "output": output}]);
        let task = json!({"kind": "text", "train": train, "test": []});
        let (status, _) = json_of(server.post("/adapt").json(&json!({"task": task}))).await;
        assert_eq!(status, 422, "{input:?} {output:?}");
    }
    let malformed = server
        .post("/adapt")
        .header("content-type", "application/json");
    let (status, problem) = json_of(malformed.body("{\"task\":")).await;
    assert_eq!((status, &problem["code"]), (400, &json!("malformed_json")));
    let (status, _) = json_of(server.post("/adapt").body("x")).await;
    assert_eq!(status, 415);
    let (status, problem) = json_of(server.post("/adapt?wait=1h").json(&json!({}))).await;
    assert_eq!((status, &problem["field"]), (422, &json!("wait")));

    let (_, jobs) = json_of(server.get("/jobs")).await;
    assert_eq!(jobs["items"], json!([]));
}

#[tokio::test]
async fn what_does_not_fit_the_window_is_refused_with_both_figures() {
    let server = Server::start().await;
    let large = json!(vec![vec![7; 30]; 30]);
    let pair = json!({"input": large, "output": large});
    let task = json!({"kind": "grid", "train": [pair, pair, pair], "test": [{"input": large}]});
    let body = body(task, json!({"self_edit": edit()}));
    let (status, problem) = json_of(server.post("/adapt").json(&body)).await;
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("context_length_exceeded"))
    );
    assert_eq!(problem["field"], "task");
    let detail = problem["detail"].as_str().unwrap();
    // Eight grids of 930 characters at least, and the tiny model's window.
    let figures: Vec<usize> = detail
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    assert!(figures[0] > 7 * 930 && figures[1] == 2048, "{detail}");
}

/// Two demonstrations of 30 x 30: one training sequence is some 4,700 tokens.
fn large_task() -> Value {
    let grid = |n: usize| -> Value {
        let row = |y: usize| (0..30).map(|x| (x * y + n) % 10).collect::<Vec<_>>();
        json!((0..30).map(row).collect::<Vec<_>>())
    };
    let pair = |n| json!({"input": grid(n), "output": grid(n + 1)});
    json!({"kind": "grid", "train": [pair(0), pair(2)], "test": [{"input": grid(4)}]})
}

#[tokio::test]
async fn a_budget_ends_the_work_inside_a_step() {
    let server = Server::with_window(8192).await;
    let body = json!({"task": large_task(), "self_edit": edit(), "budget": {"seconds": 1}});
    let (status, answer) = json_of(server.post("/adapt?wait=5m").json(&body)).await;
    assert_eq!(
        (status, &answer["job"]["state"]),
        (200, &json!("succeeded")),
        "{answer}"
    );
    let result = &answer["result"];
    // Whatever was left out is told, and the adapter is what the finished steps made.
    let cut = result["cut_short"].as_array().unwrap();
    let planned = &result["tried"][0];
    let planned = planned["sequences"].as_u64().unwrap() * planned["epochs"].as_u64().unwrap();
    let done = result["training"]["steps"].as_u64().unwrap();
    assert_eq!(done < planned, cut.contains(&json!("training")), "{result}");
    let predictions = result["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 1);
    let unasked = predictions[0]["views"] == 0;
    assert_eq!(unasked, cut.contains(&json!("predictions")), "{result}");
    let chat = server
        .chat(result["adapter"].as_str().unwrap(), json!({}))
        .await;
    assert_eq!(chat.status(), 200);
}

#[tokio::test]
async fn a_cancelled_adaptation_drops_the_step_that_it_is_in() {
    let server = Server::with_window(8192).await;
    let body = json!({"task": large_task(), "self_edit": edit(), "budget": {"seconds": 3600}});
    let (status, job) = json_of(server.post("/adapt").json(&body)).await;
    assert_eq!(status, 202, "{job}");
    let job = format!("/jobs/{}", job["job"]["id"].as_str().unwrap());
    let engine = &server.state.engine;
    // The texts become tokens first, which takes its time.
    while engine.stats().training == 0 {
        let (_, state) = json_of(server.get(&job)).await;
        assert!(
            state["state"] == "queued" || state["state"] == "running",
            "{state}"
        );
    }
    let (status, _) = json_of(server.post(&format!("{job}/cancel"))).await;
    assert_eq!(status, 200);
    let (_, ended) = json_of(server.get(&format!("{job}?wait=5m"))).await;
    assert_eq!(ended["state"], "cancelled", "{ended}");
    // The engine is free for others, and no adapter was published.
    assert_eq!(server.chat(BASE, json!({})).await.status(), 200);
    eventually("the training is gone", || engine.stats().training == 0).await;
    let (_, adapters) = json_of(server.get("/adapters")).await;
    assert_eq!(adapters["items"], json!([]));
}
