//! The small commands, run as a shell runs them.

use std::process::{Command, Output};

use crate::support::hub::Hub;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_autodidact"))
        .args(args)
        .env_clear()
        .output()
        .unwrap()
}

#[test]
fn a_key_comes_with_its_own_hash() {
    let keys: Vec<(String, String)> = (0..2)
        .map(|_| {
            let made: serde_json::Value =
                serde_json::from_slice(&run(&["key", "--json"]).stdout).unwrap();
            let text = |name: &str| made[name].as_str().unwrap().to_owned();
            (text("key"), text("hash"))
        })
        .collect();
    for (key, hash) in &keys {
        let digest: String = Sha256::digest(key)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(*hash, format!("sha256:{digest}"));
        assert!(key.len() >= 64);
    }
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn the_page_of_settings_is_that_of_the_code() {
    let made = String::from_utf8(run(&["configuration"]).stdout).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    assert_eq!(
        made,
        std::fs::read_to_string(path).unwrap(),
        "autodidact configuration > docs/configuration.md"
    );
}

#[test]
fn health_is_the_servers_answer() {
    let server = Hub::start();
    assert!(!run(&["health", "--url", &server.url]).status.success());
    server.put("/readyz", b"{}".to_vec());
    assert!(run(&["health", "--url", &server.url]).status.success());
}

#[test]
fn a_mistake_is_one_sentence_and_status_1() {
    let output = run(&["model", "--config", "/nowhere.toml", "list"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.starts_with("error: cannot read the configuration file /nowhere.toml"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1);
}

#[test]
fn graders_and_a_judge_are_compared_with_an_expert() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let verdict = |gold: &str, answer: &str, correct: bool| {
        json!({"question": "Which?", "gold": gold, "answer": answer, "correct": correct})
            .to_string()
    };
    let lines = [
        verdict("the red fox", "red fox", true),
        verdict("red fox", "a fox that is red", true),
        verdict("red fox", "not the red fox", false),
        verdict("red fox", "a hare", false),
    ];
    std::fs::write(at("verdicts"), lines.join("\n")).unwrap();
    assert!(run(&["model", "tiny", &at("tiny")]).status.success());
    let (verdicts, tiny) = (at("verdicts"), at("tiny"));
    let output = run(&["grade", "--verdicts", &verdicts, "--judge", &tiny, "--json"]);
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    let column = |field: &str| -> Vec<Value> {
        let rows = rows.as_array().unwrap();
        rows.iter().map(|row| row[field].clone()).collect()
    };
    assert_eq!(
        column("grader"),
        ["exact", "contains", "recall", "token_f1", "judge"]
    );
    assert_eq!(
        column("too_kind")[..4],
        [json!(0), json!(1), json!(1), json!(1)]
    );
    assert_eq!(
        column("too_strict")[..4],
        [json!(1), json!(1), json!(0), json!(0)]
    );
    assert_eq!(rows[0]["agreement"]["mean"], 0.75);
    assert_eq!(rows[1]["agreement"]["mean"], 0.5);
    // The tiny model's verdicts are noise and count as no, so it agrees with the expert's noes. An exact answer needs
    // no judge.
    assert_eq!(
        (&rows[4]["model"], &rows[4]["unclear"]),
        (&json!("tiny"), &json!(3))
    );
    assert_eq!(rows[4]["agreement"]["mean"], 0.75);

    let few = run(&["grade", "--verdicts", &verdicts, "--limit", "2", "--json"]);
    let few: Value = serde_json::from_slice(&few.stdout).unwrap();
    assert_eq!(
        (
            few[0]["agreement"]["n"].as_u64(),
            few.as_array().unwrap().len()
        ),
        (Some(2), 4)
    );
}

#[test]
fn a_judge_that_cannot_be_is_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let verdicts = dir.path().join("verdicts");
    std::fs::write(
        &verdicts,
        r#"{"gold": "a", "answer": "b", "correct": false}"#,
    )
    .unwrap();
    let told = |more: &[&str]| {
        let verdicts = ["grade", "--verdicts", verdicts.to_str().unwrap()];
        let output = run(&[&verdicts, more].concat());
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(told(&["--judge"]).contains("none is configured under [judge]"));
    assert!(told(&["--judge", "no-such-model"]).contains("no-such-model"));
    assert!(told(&["--judge", "http://127.0.0.1:9/v1"]).contains("URL#MODEL"));
    assert!(told(&["--judge", "mistralrs:/none.gguf"]).contains("mistralrs"));
    assert!(told(&["--limit", "0"]).contains("--limit"));
}
