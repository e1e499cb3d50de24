//! The default model learns two documents into one adapter, one after the other, without seeing the test questions. It
//! still answers about the first document after the second.

use crate::server::{Place, Server, demo};
use serde_json::{Value, json};

/// Demo documents that no default was tuned on.
const FIRST: usize = 11;
const SECOND: usize = 12;

/// Most of both documents' nine questions that the base may guess right.
const GUESSED: usize = 1;
/// Least number of a document's four or five questions that must be right after its update.
const LEARNED: usize = 2;
/// Most right answers about the first document that may become wrong after the second.
const FORGOTTEN: usize = 1;

/// Letters and digits in lower case, words with single spaces.
fn plain(text: &str) -> String {
    let word = |c: char| if c.is_alphanumeric() { c } else { ' ' };
    let text: String = text.to_lowercase().chars().map(word).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Asks the document's questions as a user does. Returns for each whether the answer is right.
fn right(server: &Server, model: &str, document: &Value) -> Vec<bool> {
    let questions = document["questions"].as_array().unwrap().iter();
    let right = questions.map(|q| {
        let (question, gold) = (
            q["question"].as_str().unwrap(),
            q["answer"].as_str().unwrap(),
        );
        let answer = server.says(model, question);
        let right = plain(&answer).contains(&plain(gold));
        println!(
            "{model}: {question}\n  {} {answer:?} ({gold})",
            if right { "+" } else { "-" }
        );
        right
    });
    right.collect()
}

fn count(right: &[bool]) -> usize {
    right.iter().filter(|r| **r).count()
}

/// Learns the document without its questions; fails with the whole reason if it is refused.
fn learn(server: &Server, document: &Value) {
    let mut unasked = document.clone();
    unasked.as_object_mut().unwrap().remove("questions");
    let (job, documents) = server.learn(&json!({"adapter": "notes", "documents": [unasked]}));
    assert_eq!(job["state"], "succeeded", "{job}");
    let report = &documents[0]["report"];
    for attempt in report["attempts"].as_array().into_iter().flatten() {
        let of = |key: &str| attempt[key].to_string();
        let (update, reason, kept) = (of("update"), of("reason"), of("retention"));
        println!("attempt with {update}: {reason}; retention {kept}");
    }
    let seconds = &report["seconds"];
    println!("{} after {seconds}", report["decision"]);
    assert_eq!(documents[0]["state"], "learned", "{}", report["decision"]);
}

#[test]
fn the_default_model_learns_two_documents_and_keeps_the_first() {
    let place = Place::with_model(
        "qwen2.5-coder-0.5b-instruct",
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    );
    let server = place.serve();
    let (first, second) = (demo(FIRST), demo(SECOND));
    let guessed = count(&right(&server, place.base(), &first))
        + count(&right(&server, place.base(), &second));
    assert!(guessed <= GUESSED, "the base answers {guessed} questions");

    learn(&server, &first);
    let learned = right(&server, "notes", &first);
    assert!(count(&learned) >= LEARNED, "of the first: {learned:?}");

    learn(&server, &second);
    let kept = right(&server, "notes", &first);
    let lost = learned.iter().zip(&kept).filter(|(was, is)| **was && !**is);
    assert!(
        lost.count() <= FORGOTTEN,
        "of the first: {learned:?}, then {kept:?}"
    );
    let learned = right(&server, "notes", &second);
    assert!(count(&learned) >= LEARNED, "of the second: {learned:?}");
    // The base is unchanged.
    let untouched = count(&right(&server, place.base(), &second));
    assert!(
        untouched <= GUESSED,
        "the base answers {untouched} questions"
    );
}
