//! `kill -9` at arbitrary moments. Acknowledged versions and jobs survive, and no alias points at missing bytes.
//! The test starts its own executable as the process to be killed.

use super::*;
use crate::store::{JobKind, NewDocument, NewJob, Store, Submission};
use autodidact_engine::tiny::tiny_config;
use autodidact_engine::{Family, Lora, LoraConfig, Projection};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const DIRECTORY: &str = "AUTODIDACT_TEST_CRASH_DIRECTORY";
const NAME: &str = "adapters::crash_tests::what_was_acknowledged_survives_kill_9";

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(path) = std::env::var_os(DIRECTORY) {
        publish_until_killed(Path::new(&path));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut published = 0;
    for acknowledged in [1, 4, 9] {
        let last = kill_after(dir.path(), acknowledged);
        let store = Store::open(dir.path()).unwrap();
        let registry = open(store.clone());
        let alias = registry.get(&kb()).unwrap();
        let live = alias.live.unwrap();
        assert!(live >= last.0 && live > published);
        published = live;
        assert_eq!(alias.versions, live);
        for number in 1..=live {
            registry.resolve(&format!("kb@{number}")).unwrap();
        }
        let documents = store.documents().for_job(&last.1).unwrap();
        assert_eq!(documents.len(), 2, "a job is there with its documents");
        assert_eq!(store.sweep_blobs().unwrap(), 0, "opening swept already");
    }
}

/// Runs the publishing process, kills it after `acknowledged` acknowledgements, and returns the last acknowledged
/// version and job.
fn kill_after(directory: &Path, acknowledged: usize) -> (u64, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let acknowledgements = lines.map_while(Result::ok).filter_map(|line| {
        let (_, text) = line.split_once("acknowledged ")?;
        let (version, job) = text.split_once(' ')?;
        Some((version.parse().unwrap(), job.to_owned()))
    });
    let last = acknowledgements.take(acknowledged).last();
    child.kill().unwrap();
    child.wait().unwrap();
    last.expect("the process published before it was killed")
}

fn publish_until_killed(directory: &Path) -> ! {
    let store = Store::open(directory).unwrap();
    let registry = open(store.clone());
    loop {
        let live = registry.get(&kb()).ok().and_then(|alias| alias.live);
        let config = LoraConfig {
            rank: 2,
            alpha: 4.0,
            targets: vec![Projection::Q],
        };
        let lora = Lora::random(config, &tiny_config(Family::Llama), live.unwrap_or(0));
        let version = registry
            .publish(&kb(), live, &lora, &Lineage::Upload)
            .unwrap();
        let documents = ["a", "b"].map(|title| NewDocument::new(title, "text"));
        let submission = store.jobs().submit(NewJob {
            kind: JobKind::Ingest,
            alias: "kb",
            input: &json!({}),
            documents: &documents,
            idempotency: None,
            queue_limit: usize::MAX,
            estimate_seconds: None,
        });
        let Ok(Submission::New(job, _)) = submission else {
            panic!("{submission:?}")
        };
        println!("acknowledged {} {}", version.number, job.id);
    }
}

fn open(store: Store) -> Registry {
    Registry::new(store, tiny_config(Family::Llama), "tiny-base", "sha256:0")
}

fn kb() -> AliasName {
    AliasName::parse("kb").unwrap()
}
