//! A training of a policy is killed at any moment and resumed. No finished candidate is lost or made again, and every
//! number comes out as without the kill. The tests run the real program with the tiny random model.

use crate::server::{Client, Event, Place};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::HashMap;

const ROUNDS: usize = 2;
const CONTEXTS: usize = 2;
const CANDIDATES: usize = 3;

fn training() -> Value {
    let context = |i: usize| {
        json!({"title": format!("Lighthouse {i}"),
            "text": format!("The lighthouse of Vell {i} was built by Orr Hallam in 19{i}0."),
            "questions": [{"question": "Who built it?", "answer": "Orr Hallam"}]})
    };
    let contexts: Vec<Value> = (1..=4).map(context).collect();
    json!({"domain": "knowledge", "policy": "writer", "contexts": contexts, "rounds": ROUNDS,
        "contexts_per_round": CONTEXTS, "candidates": CANDIDATES, "repeats": 2, "held_out": 1,
        "reward": "likelihood", "halving": true, "pack": 2, "seed": 11,
        "training": {"rank": 4, "alpha": 8.0, "learning_rate": 0.003, "epochs": 5, "batch_size": 1},
        "policy_training": {"rank": 4, "alpha": 8.0, "epochs": 1}})
}

fn submit(server: &Client) -> String {
    let answer = server.post("/train", &training());
    answer["job"]["id"].as_str().unwrap().to_owned()
}

/// All numbers of a result, except times.
fn numbers(job: &Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("seconds");
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut report = job["result"]["report"].clone();
    assert!(report.is_object(), "{job}");
    strip(&mut report);
    report
}

/// Everything was done once, emitted once, and published once.
fn assert_done_once(server: &Client, id: &str, heard: &[Event]) -> Value {
    let job = server.finished(id);
    assert_eq!(job["state"], "succeeded", "{job}");
    let all: Vec<Event> = server.events(id, 0).collect();
    let ids: Vec<u64> = all.iter().map(|e| e.id).collect();
    assert_eq!(ids, (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(&all[..heard.len()], heard);
    let mut told: HashMap<String, usize> = HashMap::new();
    for e in all.iter().filter(|e| e.kind == "candidate") {
        let place = format!(
            "{} {} {}",
            e.data["round"], e.data["context"], e.data["candidate"]
        );
        *told.entry(place).or_default() += 1;
    }
    assert_eq!(told.len(), ROUNDS * CONTEXTS * CANDIDATES);
    assert!(told.values().all(|n| *n == 1), "{told:?}");
    let count = |kind: &str| all.iter().filter(|e| e.kind == kind).count();
    assert_eq!((count("round"), count("held_out")), (ROUNDS, ROUNDS + 1));
    let versions = server.versions("writer");
    let rounds: Vec<_> = versions
        .iter()
        .map(|v| v["lineage"]["round"].clone())
        .collect();
    assert_eq!(rounds, [1, 2]);
    server.chat("writer", "Who built it?");
    job
}

/// A trained policy writes the notes of an ingest that names it.
fn assert_writes_notes(server: &Client) {
    let (_, documents) = server.learn(&json!({"adapter": "notes", "gate": {"mode": "off"},
        "self_edit": {"kind": "implications", "policy": "writer"},
        "training": {"rank": 4, "epochs": 1},
        "documents": [{"title": "Pier", "text": "The pier of Vell is made of oak."}]}));
    let edits = &documents[0]["report"]["self_edits"];
    assert_eq!(edits[0]["policy"], "writer@2", "{edits}");
}

#[test]
fn a_training_killed_at_any_moment_repeats_no_finished_candidate() {
    let (expected, moments) = {
        let place = Place::tiny();
        let server = place.serve();
        let id = submit(&server);
        let moments = server.events(&id, 0).count() as u64;
        let done = assert_done_once(&server, &id, &[]);
        assert_writes_notes(&server);
        (numbers(&done), moments)
    };
    // The numbers stay the same with any pool and after any kill.
    let pools = ["", "[pool]\ndevices = [\"cpu\", \"cpu\"]"];
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    for nth in 0..5 {
        let place = Place::tiny();
        let mut server = place.serve_with(pools[nth % 2]);
        let id = submit(&server);
        let mut heard: Vec<Event> = Vec::new();
        for life in 1..=3 {
            let target = rng.random_range(1..=moments);
            let since = heard.last().map_or(0, |e| e.id);
            for event in server.events(&id, since) {
                heard.push(event);
                if heard.len() as u64 - since >= target {
                    break;
                }
            }
            server.kill();
            server = place.serve_with(pools[(nth + life) % 2]);
        }
        let job = assert_done_once(&server, &id, &heard);
        assert_eq!(numbers(&job), expected);
    }
}

#[test]
fn a_training_killed_between_publishing_and_remembering_publishes_once() {
    let place = Place::tiny();
    let server = place.serve();
    let id = submit(&server);
    let expected = numbers(&server.finished(&id));
    server.kill();
    // The moment is too short for a kill, so the test deletes the later rows instead.
    let database = rusqlite::Connection::open(place.database()).unwrap();
    database
        .execute_batch(
            "DELETE FROM events WHERE seq >= (SELECT max(seq) FROM events WHERE kind = 'round');
             DELETE FROM steps WHERE key = 'round:2:told';
             UPDATE jobs SET state = 'running', result = NULL, finished_at = NULL;",
        )
        .unwrap();
    drop(database);
    let server = place.serve();
    assert_eq!(numbers(&assert_done_once(&server, &id, &[])), expected);
}

#[test]
fn a_paused_training_goes_on_when_resumed() {
    let place = Place::tiny();
    let server = place.serve();
    let id = submit(&server);
    let mut events = server.events(&id, 0);
    let mut heard = events.until_kind("candidate");
    server.post(&format!("/jobs/{id}/pause"), &json!({}));
    heard.extend(events.until_state("paused"));
    assert!(
        heard.iter().filter(|e| e.kind == "candidate").count() < ROUNDS * CONTEXTS * CANDIDATES
    );
    server.kill();
    let server = place.serve();
    assert_eq!(server.job(&id)["state"], "paused");
    server.post(&format!("/jobs/{id}/resume"), &json!({}));
    assert_done_once(&server, &id, &heard);
}
