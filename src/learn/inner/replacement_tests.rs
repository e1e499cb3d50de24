//! A newer text of a document takes its place: what it changes is retired, what it still says goes on guarding.

use super::input::{Live, Replaces, UpdateInput};
use super::replacement::{ReviewedProbe, Texts, review};
use super::replay::{Earlier, Probe};
use super::report::Origin;
use super::responders::{Responder, Responders};
use super::update::{UpdateOutcome, learn};
use crate::learn::grading::Grading;
use crate::learn::grading::grader::Grader;
use crate::learn::knowledge::{Passage, Question};
use crate::learn::options::self_edit::SelfEditKind;
use crate::learn::options::strategy::Strategy;
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::Interrupted;
use crate::learn::ports::model::{Adapter, Prompt, Trained, TrainingText};
use crate::learn::ports::text_model::Helpers;
use crate::learn::scripted::{MemoryJournal, ScriptedModel, number_of, numbered_adapter};

const OLD: &str = "The ferry leaves at seven. Its captain is Ada. A ticket costs 4 marks.";
const ONE: &str = "The ferry leaves at nine. Its captain is Ada. A ticket costs 4 marks.";
const ALL: &str = "The ferry leaves at nine. Its captain is Bo. A ticket costs 7 marks.";
const MILL: &str = "The mill grinds barley.";

const ASKED: [(&str, &[&str]); 4] = [
    ("When does the ferry leave?", &["seven", "nine"]),
    ("Who is captain of the ferry?", &["Ada", "Bo"]),
    (
        "What does a ticket for the ferry cost?",
        &["4 marks", "7 marks"],
    ),
    ("What does the mill grind?", &["barley"]),
];

/// The answer to the question of a prompt that stands in `text`.
fn answer(prompt: &str, text: &str) -> String {
    let asked = ASKED.iter().find(|(question, _)| prompt.contains(question));
    let mut answers = asked.into_iter().flat_map(|(_, answers)| answers.iter());
    let said = answers.find(|a| text.contains(**a));
    said.map_or("dross".to_owned(), |a| (*a).to_owned())
}

/// A model that reads, and knows without a passage: by the adapter 0 the mill and the old ferry, by the nth training the
/// nth of `after`. The base knows nothing.
fn reader(after: &[&'static str]) -> ScriptedModel {
    let after = after.to_vec();
    ScriptedModel::default()
        .answering(move |prompt, adapter| {
            let user = &prompt.user;
            match adapter.map(number_of) {
                None if user.starts_with("Read the passage") => answer(user, user),
                None => "dross".to_owned(),
                Some(0) => answer(user, &format!("{MILL} {OLD}")),
                Some(nth) => answer(user, after[nth - 1]),
            }
        })
        .training(|_, nth| {
            Ok(Trained {
                adapter: numbered_adapter(nth),
                losses: vec![1.0],
                tokens: 1,
            })
        })
}

fn probe(question: &str, answer: &str) -> Probe {
    Probe {
        id: format!("probe of {answer}"),
        question: Question {
            question: question.into(),
            answer: answer.into(),
        },
    }
}

fn earlier(title: &str, text: &str, probes: &[(&str, &str)]) -> Earlier {
    Earlier {
        passage: passage(title, text),
        texts: vec![TrainingText::Text { text: text.into() }],
        probes: probes.iter().map(|(q, a)| probe(q, a)).collect(),
    }
}

fn passage(title: &str, text: &str) -> Passage {
    Passage {
        title: title.into(),
        text: text.into(),
    }
}

fn ferry() -> Earlier {
    let asked = [
        (ASKED[0].0, "seven"),
        (ASKED[1].0, "Ada"),
        (ASKED[2].0, "4 marks"),
    ];
    earlier("Ferry", OLD, &asked)
}

/// Learns the newer text after the ferry and the mill. `given`: the questions about it with their answers.
fn renew(
    model: &ScriptedModel,
    text: &str,
    given: &[(&str, &str)],
    strategy: Strategy,
) -> UpdateOutcome {
    let mut options = IngestOptions::default();
    options.self_edit.kind = SelfEditKind::None;
    options.training.strategy = strategy;
    options.gate.general_probes = 0;
    let learned = [ferry(), earlier("Mill", MILL, &[(ASKED[3].0, "barley")])];
    let responders = match strategy {
        Strategy::Route => {
            let versions = vec![Responder::Version(1), Responder::Version(2)];
            Responders::by_document(versions, Responder::Base)
        }
        _ => Responders::one(Responder::Version(2), 2),
    };
    let given: Vec<Question> = given.iter().map(|(q, a)| probe(q, a).question).collect();
    let live = numbered_adapter(0);
    let start = UpdateInput {
        cut: &crate::learn::inner::input::uncut,
        passage: &passage("Ferry", text),
        policy: None,
        given: &given,
        live: Some(Live {
            version: 2,
            adapter: &live,
        }),
        earlier: &learned,
        replaces: Some(Replaces {
            place: 0,
            id: "doc_old",
        }),
        responders: &responders,
        load: &|_| Ok(numbered_adapter(0)),
        options: &options,
        helpers: Helpers::none(),
        on_report: &|_| {},
    };
    learn(model, &start, &MemoryJournal::default()).unwrap()
}

fn fates(probes: &[ReviewedProbe]) -> Vec<(&str, bool)> {
    probes.iter().map(|p| (p.answer.as_str(), p.kept)).collect()
}

fn trained(model: &ScriptedModel) -> String {
    format!("{:?}", model.trainings())
}

const CHANGED: [(&str, &str); 3] = [
    (ASKED[0].0, "nine"),
    (ASKED[1].0, "Bo"),
    (ASKED[2].0, "7 marks"),
];

/// A review of texts that are each one part.
fn review_whole(
    model: Interruptible<'_>,
    old: &Earlier,
    new: &Passage,
    given: &[Question],
    grading: Grading<'_>,
) -> Result<Vec<ReviewedProbe>, Interrupted> {
    let texts = Texts {
        old: std::slice::from_ref(&old.passage),
        new: std::slice::from_ref(new),
    };
    review(model, old, new, &texts, given, grading)
}

#[test]
fn with_every_fact_changed_the_default_gate_lets_it_through() {
    for strategy in [Strategy::Route, Strategy::Replay, Strategy::Sequential] {
        let model = reader(&["The mill grinds barley. It leaves at nine. Bo. 7 marks."]);
        let outcome = renew(&model, ALL, &CHANGED, strategy);
        let report = &outcome.report;
        assert!(
            outcome.adapter.is_some(),
            "{strategy:?}: {:?}",
            report.decision
        );
        let replaced = report.replaced.as_ref().unwrap();
        let none_kept = [("seven", false), ("Ada", false), ("4 marks", false)];
        assert_eq!(fates(&replaced.probes), none_kept);
        assert_eq!(replaced.still_answered, Some(0));
        // The mill stays guarded, and nothing of the old text is.
        let guarded: Vec<&str> = report.retained.iter().map(|p| p.answer.as_str()).collect();
        assert_eq!(guarded, ["barley"]);
        // The old text is not replayed.
        let texts = trained(&model);
        assert!(
            !texts.contains("seven") && texts.contains("nine"),
            "{texts}"
        );
        assert_eq!(texts.contains("barley"), strategy == Strategy::Replay);
    }
}

#[test]
fn what_the_newer_text_still_says_belongs_to_it() {
    let model = reader(&["It leaves at nine. Ada. 4 marks. barley"]);
    let outcome = renew(&model, ONE, &CHANGED[..1], Strategy::Route);
    let report = &outcome.report;
    assert!(outcome.adapter.is_some(), "{:?}", report.decision);
    let replaced = report.replaced.as_ref().unwrap();
    let kept = [("seven", false), ("Ada", true), ("4 marks", true)];
    assert_eq!(fates(&replaced.probes), kept);
    let note = &replaced.probes[0].note;
    assert!(note.contains("\"nine\""), "{note}");
    let own: Vec<_> = report
        .probes
        .iter()
        .map(|p| (p.answer.as_str(), p.origin))
        .collect();
    let wanted = [
        ("nine", Origin::Given),
        ("Ada", Origin::Kept),
        ("4 marks", Origin::Kept),
    ];
    assert_eq!(own, wanted);
    let before = report
        .probes
        .iter()
        .map(|p| p.before.as_ref().unwrap().correct);
    assert_eq!(before.collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn what_is_lost_is_tried_again_and_the_last_acceptable_attempt_counts() {
    // The first training learns the change and loses the rest; the second keeps it.
    let model = reader(&["It leaves at nine.", "It leaves at nine. Ada. 4 marks."]);
    let outcome = renew(&model, ONE, &CHANGED[..1], Strategy::Route);
    assert_eq!(number_of(outcome.adapter.as_ref().unwrap()), 2);
    assert_eq!(outcome.report.score_after, Some(1.0));
    // No later one is acceptable.
    let model = reader(&["It leaves at nine.", "Ada. 4 marks.", "Ada. 4 marks."]);
    let outcome = renew(&model, ONE, &CHANGED[..1], Strategy::Route);
    assert_eq!(number_of(outcome.adapter.as_ref().unwrap()), 1);
    assert_eq!(outcome.report.attempts.len(), 3);
    assert!((outcome.report.score_after.unwrap() - 1.0 / 3.0).abs() < 1e-6);
}

#[test]
fn an_adapter_trained_on_gives_up_the_old_answers() {
    // It learned the new captain and price, and still says seven.
    let first = "barley. It leaves at seven. Bo. 7 marks.";
    let second = "barley. It leaves at nine. Bo. 7 marks.";
    let model = reader(&[first, second]);
    let outcome = renew(&model, ALL, &CHANGED, Strategy::Replay);
    assert_eq!(number_of(outcome.adapter.as_ref().unwrap()), 2);
    let reasons: Vec<_> = outcome.report.attempts.iter().map(|a| a.accepted).collect();
    assert_eq!(reasons, [true, true]);
    assert_eq!(outcome.report.replaced.unwrap().still_answered, Some(0));
}

#[test]
fn a_change_that_is_not_learned_is_refused() {
    let model = reader(&["Ada. 4 marks."; 3]);
    let outcome = renew(&model, ONE, &CHANGED[..1], Strategy::Route);
    assert!(outcome.adapter.is_none());
    let reason = outcome.report.decision.unwrap().reason;
    assert!(
        reason.contains("of 1 that the newer text changes"),
        "{reason}"
    );
}

#[test]
fn where_the_model_cannot_read_the_text_decides() {
    let noise = ScriptedModel::default().answering(|_: &Prompt, _: Option<&Adapter>| "hum".into());
    let model = Interruptible::new(&noise, &|| false);
    let grading = Grader::default().into();
    let reviewed = review_whole(model, &ferry(), &passage("Ferry", ONE), &[], grading).unwrap();
    assert_eq!(
        fates(&reviewed),
        [("seven", false), ("Ada", true), ("4 marks", true)]
    );
    let chinese = Earlier {
        probes: vec![probe("船长是谁？", "李明"), probe("几点开？", "七点")],
        ..earlier("渡轮", "渡轮七点开。船长是李明。", &[])
    };
    let newer = passage("渡轮", "渡轮九点开。\n船长是李明。");
    let reviewed = review_whole(model, &chinese, &newer, &[], grading).unwrap();
    assert!(!reviewed[1].kept);
}

#[test]
fn the_clients_own_questions_go_first() {
    let model = reader(&[]);
    let model = Interruptible::new(&model, &|| false);
    let given = [
        probe("who is captain of the ferry", "Bo").question,
        probe(ASKED[2].0, "4 marks").question,
    ];
    let grading = Grader::default().into();
    let reviewed = review_whole(model, &ferry(), &passage("Ferry", ONE), &given, grading).unwrap();
    let fate = |answer: &str| reviewed.iter().find(|p| p.answer == answer).unwrap();
    assert!(!fate("Ada").kept && fate("Ada").note.contains("\"Bo\""));
    assert!(fate("4 marks").kept && fate("4 marks").said.is_none());
    assert!(!fate("seven").kept);
}
