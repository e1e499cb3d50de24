//! The continual run with a model that knows what its adapter was trained on: under `route` everything,
//! under `sequential` the last document alone.

use super::continual::{Shared, run};
use super::continual_table::row;
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::strategy::Strategy;
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::model::Trained;
use crate::learn::scripted::{ScriptedModel, number_of, numbered_adapter};
use serde_json::json;

const SUBJECTS: [&str; 3] = ["lamp", "ferry", "goose"];

/// Its adapters carry, as their number, which of their training's texts count: bit n for subject n.
fn forgetful() -> ScriptedModel {
    ScriptedModel::default()
        .answering(|prompt, adapter| {
            let known = adapter.map_or(0, number_of);
            let about = SUBJECTS.iter().position(|s| prompt.user.contains(s));
            let answer = match about {
                Some(n) if known & (1 << n) != 0 => "gold",
                _ => "dross",
            };
            answer.to_owned()
        })
        .training(|training, _| {
            let mut known = 0;
            for text in &training.texts {
                let text = serde_json::to_string(text).unwrap();
                for (n, subject) in SUBJECTS.iter().enumerate() {
                    known |= usize::from(text.contains(subject)) << n;
                }
            }
            Ok(Trained {
                adapter: numbered_adapter(known),
                losses: vec![1.0],
                tokens: 10,
            })
        })
}

fn documents() -> Vec<(Passage, Vec<Question>)> {
    let document = |subject: &&str| {
        let passage = Passage {
            title: format!("A {subject}"),
            text: format!("All about one {subject}."),
        };
        let question = Question {
            question: format!("Where is the {subject} kept?"),
            answer: "gold".into(),
        };
        (passage, vec![question])
    };
    SUBJECTS.iter().map(document).collect()
}

fn options(strategy: Strategy) -> IngestOptions {
    let set = json!({"training": {"strategy": strategy}, "self_edit": {"kind": "none"},
        "gate": {"mode": "off", "general_probes": 0}});
    IngestOptions::merged(&[&set]).unwrap()
}

fn final_row(strategy: Strategy) -> (f32, f32, Vec<Vec<f32>>) {
    let options = options(strategy);
    let mut told = Vec::new();
    let run = run(
        &forgetful(),
        &documents(),
        &options,
        5,
        &Shared::default(),
        &mut |nth, cost| told.push((nth, cost.tokens)),
    );
    let run = run.unwrap();
    assert_eq!(told, [(0, 10), (1, 10), (2, 10)]);
    assert_eq!((run.general_asked, run.general.len()), (5, 4));
    let row = row(strategy.name(), "text", &[vec![run]]);
    assert_eq!((row.base.mean, row.just_learned.mean), (0.0, 1.0));
    (row.final_row.mean, row.backward_transfer.mean, row.matrix)
}

#[test]
fn what_is_trained_on_and_on_keeps_the_last_document_alone() {
    let (last, transfer, matrix) = final_row(Strategy::Sequential);
    assert!((last - 1.0 / 3.0).abs() < 1e-6);
    assert_eq!(transfer, -1.0);
    assert_eq!(matrix[3], [0.0, 0.0, 1.0]);
}

#[test]
fn routes_keep_everything_and_replay_what_it_replays() {
    for strategy in [Strategy::Replay, Strategy::Route] {
        let (last, transfer, matrix) = final_row(strategy);
        // One sequence a document, replayed one for one: of the two before it the one whose turn it is.
        let kept = match strategy {
            Strategy::Replay => vec![0.0, 1.0, 1.0],
            _ => vec![1.0; 3],
        };
        assert_eq!(matrix[3], kept, "{strategy:?}");
        assert_eq!(last, kept.iter().sum::<f32>() / 3.0);
        assert_eq!(transfer, (kept[0] + kept[1]) / 2.0 - 1.0);
    }
}

#[test]
fn what_a_router_leaves_as_it_was_is_not_asked_again() {
    let (model, options) = (forgetful(), options(Strategy::Route));
    let shared = Shared::default();
    run(&model, &documents(), &options, 5, &shared, &mut |_, _| ()).unwrap();
    // Of the base three questions and five general ones; of each new adapter its document's. An update asks
    // its document's before and after of itself.
    assert_eq!(model.prompts().len(), 3 + 5 + 3 + 2 * 3);
}

#[test]
fn a_question_of_two_documents_is_graded_by_the_answer_of_each() {
    let [first, second, _] = documents().try_into().unwrap();
    let mut same = (second.0, first.1.clone());
    same.0.title = first.0.title.clone();
    same.1[0].answer = "dross".into();
    let (model, options) = (forgetful(), options(Strategy::Route));
    let shared = Shared::default();
    let run = run(&model, &[first, same], &options, 0, &shared, &mut |_, _| ()).unwrap();
    // The base says dross to both.
    assert_eq!(run.answers[0], [[false], [true]]);
}
