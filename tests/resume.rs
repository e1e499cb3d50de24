//! Acknowledged work is done exactly once, even if the process is killed or stopped, or the job is cancelled or
//! paused. The tests run the real program with the tiny random model.

use crate::server::{Client, Event, Place, lighthouse, ungated};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// Epochs of a training that lasts long enough to be interrupted.
const LONG: usize = 100;

/// Epochs of a training that is over soon.
const SHORT: usize = 20;

fn rewritten(epochs: usize) -> Value {
    let mut body = ungated("harbour", &[lighthouse()], epochs);
    body["self_edit"] = json!({"kind": "rewrite", "temperature": 1.0});
    body
}

/// The job succeeded, and its document was learned once into one version.
fn assert_learned_once(server: &Client, job: &str, document: &str) {
    let job = server.job(job);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(job["result"]["live_version"], 1);
    let versions = server.versions("harbour");
    assert_eq!(versions.len(), 1, "{versions:?}");
    assert_eq!(versions[0]["lineage"]["documents"][0]["id"], document);
    let document = server.document(document);
    assert_eq!(
        (&document["state"], &document["version"]),
        (&json!("learned"), &json!(1))
    );
    assert_eq!(document["report"]["decision"]["version"], 1);
    let told = server.events(job["id"].as_str().unwrap(), 0);
    let ends: Vec<_> = told.map(|e| e.data).collect();
    assert!(
        ends.iter()
            .any(|d| d["accepted"] == true && d["version"] == 1)
    );
    assert!(
        ends.iter()
            .any(|d| d["document_id"].is_string() && d["state"] == "learned")
    );
    let adapter = server.get("/adapters/harbour");
    assert_eq!(
        (&adapter["versions"], &adapter["documents"]),
        (&json!(1), &json!(1))
    );
    server.chat("harbour", "Who built the lighthouse of Vell?");
}

/// Checks that the events of a job have no gap and begin with the events `heard` before. Returns all of them.
fn assert_continues(server: &Client, job: &str, heard: &[Event]) -> Vec<Event> {
    let all: Vec<Event> = server.events(job, 0).collect();
    let ids: Vec<u64> = all.iter().map(|e| e.id).collect();
    assert_eq!(ids, (1..=all.len() as u64).collect::<Vec<_>>());
    assert_eq!(&all[..heard.len()], heard);
    all
}

#[test]
fn a_job_killed_in_training_finishes_and_repeats_no_finished_step() {
    let place = Place::tiny();
    let server = place.serve_with("[learning]\nseed = 1");
    let (job, documents) = server.ingest(&rewritten(LONG));
    let mut heard = server.events(&job, 0).until_kind("train");
    server.kill();

    // With another seed, a note written again would be different.
    let server = place.serve_with("[learning]\nseed = 2");
    let last = heard.last().unwrap().id;
    heard.extend(server.events(&job, last));
    let all = assert_continues(&server, &job, &heard);
    assert_eq!(all.last().unwrap().data["state"], "succeeded");
    let notes: Vec<_> = all.iter().filter(|e| e.kind == "self_edit").collect();
    assert!(!notes[0].data["text"].as_str().unwrap().is_empty());
    let report = &server.document(&documents[0])["report"];
    assert_eq!(report["self_edits"][0]["text"], notes[0].data["text"]);
    assert_eq!(report["self_edits"][0]["seed"], 1);
    assert_eq!(server.job(&job)["attempt"], 2);
    assert_learned_once(&server, &job, &documents[0]);
}

#[test]
fn a_job_killed_as_soon_as_it_is_acknowledged_is_done() {
    let place = Place::tiny();
    let server = place.serve();
    let (job, documents) = server.ingest(&rewritten(SHORT));
    server.kill();
    let server = place.serve();
    server.finished(&job);
    assert_learned_once(&server, &job, &documents[0]);
}

#[test]
fn a_job_killed_at_any_moment_is_done_once() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    // The events of an undisturbed run are the moments for the kills.
    let moments = {
        let place = Place::tiny();
        let server = place.serve();
        let (job, _) = server.ingest(&rewritten(SHORT));
        server.events(&job, 0).count() as u64
    };
    for _ in 0..4 {
        let place = Place::tiny();
        let mut server = place.serve();
        let (job, documents) = server.ingest(&rewritten(SHORT));
        let mut heard = Vec::new();
        // Kill twice, each time after a randomly chosen event. The last events are about publishing, where a crash
        // could do most harm, so they are chosen more often.
        for _ in 0..2 {
            let (low, high) = match rng.random_bool(0.5) {
                true => (1, moments),
                false => (moments - 6, moments),
            };
            let target = rng.random_range(low..=high);
            let since = heard.last().map_or(0, |e: &Event| e.id);
            for event in server.events(&job, since) {
                heard.push(event);
                if heard.len() as u64 - since >= target {
                    break;
                }
            }
            server.kill();
            server = place.serve();
        }
        server.finished(&job);
        assert_continues(&server, &job, &heard);
        assert_learned_once(&server, &job, &documents[0]);
    }
}

#[test]
fn a_job_killed_between_publishing_and_telling_tells_and_learns_nothing_twice() {
    let place = Place::tiny();
    let server = place.serve();
    let (job, documents) = server.ingest(&rewritten(1));
    server.finished(&job);
    server.kill();
    // The moment is too short for a kill, so the test deletes the later rows instead.
    let database = rusqlite::Connection::open(place.database()).unwrap();
    database
        .execute_batch(
            "DELETE FROM events WHERE seq >= (SELECT seq FROM events WHERE kind = 'decision');
             DELETE FROM steps WHERE key LIKE '%:told';
             DELETE FROM scores;
             UPDATE documents SET report = json_set(report, '$.decision.version', NULL);
             UPDATE jobs SET state = 'running', result = NULL, finished_at = NULL;",
        )
        .unwrap();
    drop(database);

    let server = place.serve();
    server.finished(&job);
    assert_eq!(server.job(&job)["attempt"], 2);
    assert_learned_once(&server, &job, &documents[0]);
    drop(server);
    let database = rusqlite::Connection::open(place.database()).unwrap();
    let count = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        database.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    // A score of each probe before and after.
    assert_eq!((count("probes"), count("scores")), (2, 4));
}

#[test]
fn a_cancelled_training_publishes_nothing() {
    let place = Place::tiny();
    let server = place.serve();
    let (job, documents) = server.ingest(&rewritten(LONG));
    let mut events = server.events(&job, 0);
    events.until_kind("train");
    server.post(&format!("/jobs/{job}/cancel"), &json!({}));
    let rest: Vec<Event> = events.collect();
    assert_eq!(rest.last().unwrap().data["state"], "cancelled");
    assert!(rest.iter().all(|e| e.kind != "decision"), "{rest:?}");
    let told = rest.iter().filter(|e| e.kind == "document");
    let told: Vec<_> = told.map(|e| e.data["state"].clone()).collect();
    assert_eq!(told, ["cancelled"]);
    assert_eq!(server.job(&job)["state"], "cancelled");
    assert_eq!(server.document(&documents[0])["state"], "cancelled");
    assert_eq!(server.try_get("/adapters/harbour").0, 404);
    let again = server.try_post(&format!("/jobs/{job}/cancel"), &json!({}));
    assert_eq!(again.0, 409, "{}", again.1);

    // The alias is free for the next job.
    let (job, documents) = server.ingest(&rewritten(1));
    server.finished(&job);
    assert_learned_once(&server, &job, &documents[0]);
}

#[test]
fn a_paused_training_goes_on_when_resumed() {
    let place = Place::tiny();
    let server = place.serve();
    let (job, documents) = server.ingest(&rewritten(LONG));
    let mut events = server.events(&job, 0);
    let mut heard = events.until_kind("train");
    server.post(&format!("/jobs/{job}/pause"), &json!({}));
    heard.extend(events.until_state("paused"));
    assert_eq!(server.job(&job)["state"], "paused");
    assert_eq!(server.document(&documents[0])["state"], "learning");
    assert_eq!(server.try_get("/adapters/harbour").0, 404);

    // A pause outlives the process.
    server.kill();
    let server = place.serve();
    assert_eq!(server.job(&job)["state"], "paused");
    server.post(&format!("/jobs/{job}/resume"), &json!({}));
    server.finished(&job);
    assert_continues(&server, &job, &heard);
    assert_eq!(server.job(&job)["attempt"], 1);
    assert_learned_once(&server, &job, &documents[0]);
}

#[test]
fn a_server_asked_to_stop_ends_well_and_the_next_goes_on() {
    let place = Place::tiny();
    let server = place.serve();
    let (job, documents) = server.ingest(&rewritten(LONG));
    // The stream is closed here: a stopping server waits a while for open ones.
    let heard = server.events(&job, 0).until_kind("train");
    let status = server.terminate();
    assert_eq!(status.code(), Some(0), "{}", place.logged());

    let server = place.serve();
    server.finished(&job);
    let all = assert_continues(&server, &job, &heard);
    let states = all.iter().filter(|e| e.kind == "state");
    let states: Vec<_> = states.map(|e| e.data["state"].clone()).collect();
    assert_eq!(
        states,
        ["queued", "running", "queued", "running", "succeeded"]
    );
    // A shutdown does not count as a crash.
    assert_eq!(server.job(&job)["attempt"], 1);
    assert_learned_once(&server, &job, &documents[0]);
}

#[test]
fn an_idempotency_key_outlives_the_process() {
    let place = Place::tiny();
    let server = place.serve();
    let body = rewritten(1);
    let first = server.ingest_with_key(&body, "key-1");
    server.kill();
    let server = place.serve();
    assert_eq!(server.ingest_with_key(&body, "key-1"), first);
    server.finished(&first.0);
    assert_eq!(server.ingest_with_key(&body, "key-1"), first);
    assert_learned_once(&server, &first.0, &first.1[0]);
    // Another key alone learns nothing again.
    let mut again = body.clone();
    again["again"] = json!(true);
    assert_ne!(server.ingest_with_key(&again, "key-2"), first);
}

#[test]
fn an_adaptation_killed_at_any_moment_tries_no_candidate_twice() {
    let pair = |n: u8| json!({"input": [[n, 1], [2, n]], "output": [[2, n], [n, 1]]});
    let body = json!({
        "task": {"kind": "grid", "train": [pair(3), pair(4), pair(5)], "test": [{"input": [[6, 1], [2, 6]]}]},
        "budget": {"seconds": 60, "candidates": 2},
        "keep": {"alias": "turns"},
    });
    // After the configurations are written, after the first is scored, after the adapter is trained.
    for moment in ["self_edits", "candidate", "trained"] {
        let place = Place::tiny();
        let server = place.serve();
        let (status, answer) = server.try_post("/adapt", &body);
        assert_eq!(status, 202, "{answer}");
        let job = answer["job"]["id"].as_str().unwrap().to_owned();
        let mut heard = server.events(&job, 0).until_kind(moment);
        server.kill();

        let server = place.serve();
        let last = heard.last().unwrap().id;
        heard.extend(server.events(&job, last));
        let all = assert_continues(&server, &job, &heard);
        let told = server.job(&job);
        assert_eq!(
            (&told["state"], &told["attempt"]),
            (&json!("succeeded"), &json!(2)),
            "{told}"
        );
        let mut tried: Vec<_> = all.iter().filter(|e| e.kind == "candidate").collect();
        let of = |e: &&Event| e.data["candidate"].as_u64();
        tried.sort_by_key(of);
        tried.dedup_by_key(|e| e.data["candidate"].as_u64());
        let count = all.iter().filter(|e| e.kind == "candidate").count();
        assert_eq!(tried.len(), count, "{moment}: one was tried twice");
        let written = all.iter().filter(|e| e.kind == "self_edits").count();
        assert_eq!(written, 1, "{moment}");
        let result = &told["result"];
        let scored = result["tried"].as_array().unwrap().iter();
        let scored = scored.filter(|t| !t["score"].is_null()).count();
        // The event comes after the step, so a kill in between leaves the step without its event.
        assert!((1..=scored).contains(&count), "{moment}: {result}");
        assert_eq!(result["version"], 1);
        assert_eq!(server.versions("turns").len(), 1);
        server.chat("turns", "123");
    }
}
