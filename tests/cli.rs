//! The small commands, as a shell runs them.

mod support;

use std::process::{Command, Output};

use sha2::{Digest, Sha256};
use support::hub::Hub;

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
