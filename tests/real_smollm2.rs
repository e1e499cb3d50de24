//! A small real model learns a document through the front door.

mod server;

use serde_json::{Value, json};
use server::{Place, demo};

/// Mean log-likelihood gain of the gold answers, nats a token, that the update has to reach.
const GAIN: f64 = 0.5;

#[test]
fn smollm2_learns_a_document_through_the_front_door() {
    let place = Place::with_model("smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf");
    let server = place.serve();
    let document = demo(1);
    // Whether this model proves itself is another matter: here it is about the way.
    let body = json!({
        "adapter": "notes",
        "documents": [document],
        "training": {"epochs": 15, "batch_size": 2},
        "gate": {"mode": "off"},
    });
    let (job, documents) = server.learn(&body);
    assert_eq!(job["state"], "succeeded", "{job}");
    assert_eq!(documents[0]["state"], "learned");

    let report = &documents[0]["report"];
    assert_eq!(report["decision"]["accepted"], true);
    let probes = report["probes"].as_array().unwrap();
    assert_eq!(
        probes.len(),
        document["questions"].as_array().unwrap().len()
    );
    let likelihood = |when: &str| -> f64 {
        let each = probes.iter().map(|p| p[when]["logprob"].as_f64().unwrap());
        each.sum::<f64>() / probes.len() as f64
    };
    let (before, after) = (likelihood("before"), likelihood("after"));
    assert!(
        after > before + GAIN,
        "gold answers: {before} before, {after} after"
    );
    let losses = report["attempts"][0]["losses"].as_array().unwrap();
    assert!(
        losses.last().and_then(Value::as_f64) < losses[0].as_f64(),
        "{losses:?}"
    );

    let question = document["questions"][0]["question"].as_str().unwrap();
    assert!(!server.says("notes", question).trim().is_empty());
    assert!(!server.says(place.base(), question).trim().is_empty());
}
