//! A small real model learns a document over HTTP.

use crate::server::{Place, demo};
use serde_json::{Value, json};

#[test]
fn smollm2_learns_a_document_through_the_front_door() {
    let place = Place::with_model("smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf");
    let server = place.serve();
    let document = demo(1);
    // This test is about the path and not about the quality of this model, so the gate is off.
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
    // The model is too small to choose the right sentence, but its answers now come from the document. (The likelihood
    // of the short gold answers means nothing for a model that answers in sentences.)
    let text = document["text"].as_str().unwrap();
    let from_the_document = |when: &str| {
        let answers = probes.iter().map(|p| p[when]["answer"].as_str().unwrap());
        answers
            .filter(|a| !a.is_empty() && text.contains(a.trim()))
            .count()
    };
    assert_eq!(from_the_document("before"), 0, "{probes:?}");
    assert!(2 * from_the_document("after") > probes.len(), "{probes:?}");
    let losses = report["attempts"][0]["losses"].as_array().unwrap();
    assert!(
        losses.last().and_then(Value::as_f64) < losses[0].as_f64(),
        "{losses:?}"
    );

    let question = document["questions"][0]["question"].as_str().unwrap();
    assert!(!server.says("notes", question).trim().is_empty());
    assert!(!server.says(place.base(), question).trim().is_empty());
}
