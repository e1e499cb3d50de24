//! How an update spares what was learned before: gentler attempts, general knowledge, strategies.

use super::input::{Live, UpdateInput};
use super::replay::Earlier;
use super::responders::{Responder, Responders};
use super::update::{MAX_ROUTES, MOST_RANKS, UpdateOutcome, learn};
use super::update_tests::{
    ALL, NEW, OLD, Script, knowing, load, probe, question, run, run_from, updates, with_matrix,
};
use crate::learn::knowledge::Passage;
use crate::learn::options::self_edit::SelfEditKind;
use crate::learn::options::strategy::{Method, Strategy};
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::journal::Interrupted;
use crate::learn::ports::model::TrainingText;
use crate::learn::ports::text_model::Helpers;
use crate::learn::scripted::{MemoryJournal, ScriptedModel, number_of, numbered_adapter};

#[test]
fn what_forgot_is_tried_again_more_gently() {
    let model = knowing(&OLD, &[&NEW, &ALL]);
    let outcome = run(&model, &MemoryJournal::default(), |_| {}).unwrap();
    assert_eq!(outcome.adapter.as_ref().map(number_of), Some(2));
    let updates = updates(&model);
    assert_eq!(updates[1].learning_rate, updates[0].learning_rate / 2.0);
    assert_eq!(updates[1].epochs, updates[0].epochs);
    let attempts = &outcome.report.attempts;
    // Half of the first change was tried before the second training.
    let scales: Vec<Option<f32>> = attempts.iter().map(|a| a.scale).collect();
    assert_eq!(scales, [None, Some(0.5), None]);
    assert_eq!(
        attempts[2].replayed_sequences,
        2 * attempts[0].replayed_sequences
    );
    assert!(!attempts[0].accepted && attempts[2].accepted);
    let fallen: Vec<&str> = attempts[0]
        .fallen
        .iter()
        .map(|f| f.question.as_str())
        .collect();
    assert_eq!(fallen, OLD);
    assert!((attempts[0].fallen[0].nats - 4.9).abs() < 1e-5);
    assert!(attempts[2].fallen.is_empty());
    assert!(outcome.report.decision.as_ref().unwrap().gentler);
    assert!(
        attempts[0]
            .reason
            .contains("4 were answered right before and 0 after"),
        "{attempts:?}"
    );
    // The second starts where the first started, not where it ended.
    let trainings = model.trainings();
    assert_eq!(trainings[1].init.as_ref().map(number_of), Some(0));
}

#[test]
fn replay_starts_when_forgetting_is_seen() {
    let model = knowing(&OLD, &[&NEW, &ALL]);
    let outcome = run(&model, &MemoryJournal::default(), |o| {
        o.training.replay = 0.0
    })
    .unwrap();
    let trainings = outcome.report.attempts.iter().filter(|a| a.scale.is_none());
    let replayed = trainings.map(|a| a.replayed_sequences);
    let new = outcome.report.training_sequences.len();
    assert_eq!(replayed.collect::<Vec<_>>(), [0, new]);
}

#[test]
fn forgetting_to_the_last_is_refused_with_its_figures() {
    let model = knowing(&OLD, &[&NEW, &NEW]);
    let outcome = run(&model, &MemoryJournal::default(), |o| o.gate.attempts = 2).unwrap();
    assert!(outcome.adapter.is_none());
    let reason = outcome.report.decision.unwrap().reason;
    assert!(
        reason.contains("a loss of 100 %, the budget is 25 %"),
        "{reason}"
    );
    assert!(
        reason.contains("\"E1?\" (the old), answer \"gold\", now \"dross\", 4.9 nats")
            && reason.contains("and 1 more"),
        "{reason}"
    );
}

#[test]
fn half_of_a_change_may_be_within_the_budget() {
    let script = Script {
        half_is_gentle: true,
        ..Script::knowing(&OLD, &[&NEW])
    };
    let (model, live) = (script.model(), with_matrix(0, 0.0));
    let journal = MemoryJournal::default();
    let outcome = run_from(&live, &model, &journal, &|_| {}, |_| {}).unwrap();
    let report = outcome.report;
    assert!(report.decision.as_ref().unwrap().gentler);
    assert_eq!(updates(&model).len(), 1, "no second training");
    assert_eq!(report.attempts.len(), 2);
    assert_eq!(
        (report.attempts[1].scale, report.attempts[1].accepted),
        (Some(0.5), true)
    );
    // B of the published adapter is half the way between the live one's and the trained one's.
    let b = outcome.adapter.unwrap().0.layers[0][0].as_ref().unwrap().b[0];
    assert_eq!(b, 0.5);
}

#[test]
fn general_knowledge_is_measured_against_the_base() {
    // The adapters know everything except general knowledge, which only the base knows.
    let script = Script {
        base_is_general: true,
        ..Script::knowing(&OLD, &[&ALL, &ALL])
    };
    let model = script.model();
    let change = |o: &mut IngestOptions| {
        o.gate.general_probes = 10;
        o.gate.general_budget = 0.3;
        o.gate.attempts = 1;
    };
    let outcome = run(&model, &MemoryJournal::default(), change).unwrap();
    assert!(outcome.adapter.is_none());
    let general = outcome.report.attempts[0].general.unwrap();
    assert_eq!(
        (general.probes, general.before, general.after),
        (10, 1.0, 0.0)
    );
    let reason = outcome.report.decision.unwrap().reason;
    assert!(
        reason.contains("of 10 general probes 10 were answered right by the base and 0 after"),
        "{reason}"
    );
    let generous = |o: &mut IngestOptions| {
        change(o);
        o.gate.general_budget = 1.0;
    };
    let outcome = run(&model, &MemoryJournal::default(), generous).unwrap();
    assert!(outcome.adapter.is_some());
}

#[test]
fn the_sequential_strategy_replays_nothing() {
    let model = knowing(&OLD, &[&NEW, &ALL]);
    let sequential = |o: &mut IngestOptions| o.training.strategy = Strategy::Sequential;
    let outcome = run(&model, &MemoryJournal::default(), sequential).unwrap();
    assert!(outcome.adapter.is_some());
    let attempts = outcome.report.attempts.iter();
    assert!(attempts.clone().all(|a| a.replayed_sequences == 0));
    assert_eq!(outcome.report.continued, Some(5));
}

#[test]
fn the_orthogonal_strategy_trains_new_ranks_beside_the_old_ones() {
    let model = knowing(&OLD, &[&ALL]);
    let orthogonal = |o: &mut IngestOptions| {
        o.training.strategy = Strategy::Orthogonal;
        o.training.rank = 8;
    };
    let outcome = run(&model, &MemoryJournal::default(), orthogonal).unwrap();
    assert_eq!(outcome.report.continued, Some(5));
    let trainings = model.trainings();
    // The live adapter has one rank.
    let init = trainings[0].init.as_ref().unwrap();
    assert_eq!(init.0.config.rank, 9);
    let update = &trainings[0].update;
    assert_eq!((update.rank, update.kept_ranks), (9, 1));
    assert_eq!(outcome.report.replayed_sequences, 0);
}

#[test]
fn what_grows_by_ranks_stays_bounded() {
    let mut adapter = numbered_adapter(1);
    for nth in 0..20 {
        adapter = adapter.with_room(8, MOST_RANKS, nth);
    }
    assert_eq!(adapter.0.config.rank, MOST_RANKS);
}

#[test]
fn a_routed_document_gets_an_adapter_of_its_own_and_spares_the_others() {
    // The new adapter knows nothing of the old; by routing it is not asked.
    let model = knowing(&OLD, &[&NEW]);
    let route = |o: &mut IngestOptions| o.training.strategy = Strategy::Route;
    let journal = MemoryJournal::default();
    let outcome = learn_routed(&model, &journal, 1, route).unwrap();
    assert_eq!(outcome.adapter.as_ref().map(number_of), Some(1));
    let report = outcome.report;
    assert_eq!((report.score_after, report.continued), (Some(1.0), None));
    assert_eq!(
        report.retention.map(|r| (r.before, r.after)),
        Some((1.0, 1.0))
    );
    let trainings = model.trainings();
    assert!(trainings[0].init.is_none(), "it begins from the base");
    assert_eq!(report.replayed_sequences, 0);
}

#[test]
fn beyond_the_most_routes_a_document_joins_the_one_most_like_it() {
    let model = knowing(&OLD, &[&ALL]);
    let route = |o: &mut IngestOptions| o.training.strategy = Strategy::Route;
    let outcome = learn_routed(&model, &MemoryJournal::default(), MAX_ROUTES, route).unwrap();
    assert!(outcome.adapter.is_some());
    // Of the earlier documents the last one, which is of lamps too.
    assert_eq!(outcome.report.continued, Some(MAX_ROUTES as u64));
    let trainings = model.trainings();
    assert_eq!(trainings[0].init.as_ref().map(number_of), Some(0));
    let replayed = trainings[0]
        .texts
        .iter()
        .filter(|t| matches!(t, TrainingText::Text { text } if text.contains("of lamp 32")));
    assert_eq!(
        replayed.count(),
        1,
        "only what that adapter knows is replayed"
    );
}

#[test]
fn what_shares_an_adapter_is_all_that_its_budget_is_judged_by() {
    // Of 32 documents it erases the one whose adapter it is trained into: a loss of 3 % over all, of all there.
    let model = knowing(&OLD, &[&NEW, &NEW, &NEW]);
    let route = |o: &mut IngestOptions| o.training.strategy = Strategy::Route;
    let outcome = learn_routed(&model, &MemoryJournal::default(), MAX_ROUTES, route).unwrap();
    let report = outcome.report;
    assert!(outcome.adapter.is_none(), "{:?}", report.decision);
    // And it takes a question of another over.
    let asked: Vec<&str> = report.retained.iter().map(|r| &*r.title).collect();
    assert_eq!(asked, ["The lamp 32", "The ferry 1"]);
    assert_eq!(
        report.retention.map(|r| (r.before, r.after)),
        Some((1.0, 0.0))
    );
}

/// Learns of lamps, after so many documents with an adapter each, of which the last is of lamps too.
fn learn_routed(
    model: &ScriptedModel,
    journal: &MemoryJournal,
    documents: usize,
    change: impl FnOnce(&mut IngestOptions),
) -> Result<UpdateOutcome, Interrupted> {
    let mut options = IngestOptions::default();
    options.self_edit.kind = SelfEditKind::None;
    options.gate.general_probes = 0;
    change(&mut options);
    let earlier = |n: usize| {
        let subject = match n == documents {
            true => "lamp",
            false => "ferry",
        };
        Earlier {
            passage: Passage {
                title: format!("The {subject} {n}"),
                text: format!("A {subject} is kept at pier {n}."),
            },
            texts: vec![TrainingText::Text {
                text: format!("All of {subject} {n}"),
            }],
            probes: match n {
                // The new document takes this question over.
                1 if documents > 1 => vec![probe("E2? Of a green lamp")],
                _ => vec![probe(&format!("E1? Of the {subject} {n}"))],
            },
        }
    };
    let earlier: Vec<Earlier> = (1..=documents).map(earlier).collect();
    let responders = (1..=documents as u64).map(Responder::Version);
    let start = UpdateInput {
        cut: &crate::learn::inner::input::uncut,
        passage: &Passage {
            title: "A lamp of Q1 Q2".into(),
            text: "This lamp is green.".into(),
        },
        given: &["Q1?", "Q2?"].map(question),
        live: Some(Live {
            version: documents as u64,
            adapter: &numbered_adapter(0),
        }),
        earlier: &earlier,
        replaces: None,
        responders: &Responders::by_document(responders.collect(), Responder::Base),
        load: &load,
        options: &options,
        policy: None,
        helpers: Helpers::none(),
        on_report: &|_| {},
    };
    learn(model, &start, journal)
}

#[test]
fn a_model_that_tells_no_distributions_refuses_what_needs_them() {
    for change in [
        (|o: &mut IngestOptions| o.training.strategy = Strategy::Kl) as fn(&mut IngestOptions),
        |o| o.training.method = Method::Distill,
    ] {
        let model = knowing(&OLD, &[&ALL]);
        let stop = run(&model, &MemoryJournal::default(), change)
            .map(|_| ())
            .unwrap_err();
        assert!(
            matches!(&stop, Interrupted::Model(e) if e.to_string().contains("distributions")),
            "{stop}"
        );
    }
}
