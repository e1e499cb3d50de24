//! The loop's control flow, on a toy domain.

use super::options::{Baseline, Keep, OuterOptions, Preset, Reward};
use super::report::{Candidate, Report};
use super::toy::{Memory, Toy, candidates, counting, lessons};
use super::{OuterLoop, OuterOutcome, keep, run};
use crate::learn::outer::domain::Domain;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::{Interrupted, Journal};
use crate::learn::scripted::{ScriptedModel, numbered_adapter};
use crate::pool::tasks::MemoryTasks;
use serde_json::{Value, json};

pub(super) fn options(change: impl FnOnce(&mut OuterOptions)) -> OuterOptions {
    let mut options = OuterOptions {
        contexts_per_round: 3,
        candidates: 4,
        repeats: 2,
        reward: Reward::Accuracy,
        held_out: 2,
        pack: 3,
        seed: 7,
        ..OuterOptions::preset(Preset::Default)
    };
    change(&mut options);
    options
}

pub(super) fn contexts() -> Vec<String> {
    (0..8).map(|i| format!("context {i}")).collect()
}

/// By one worker, from the base.
pub(super) fn start<'a>(
    model: &'a ScriptedModel,
    tasks: &'a MemoryTasks,
    memory: &'a Memory,
    contexts: &'a [String],
    options: &'a OuterOptions,
) -> OuterLoop<'a, Toy> {
    OuterLoop {
        model,
        others: &[],
        tasks,
        domain: &Toy,
        contexts,
        options,
        policy: None,
        practised: &[],
        journal: &memory.journal,
        policies: memory,
    }
}

pub(super) fn practise(
    model: &ScriptedModel,
    memory: &Memory,
    contexts: &[String],
    options: &OuterOptions,
) -> Result<OuterOutcome, Interrupted> {
    let tasks = MemoryTasks::default();
    run(&start(model, &tasks, memory, contexts, options))
}

/// Without what a clock says.
pub(super) fn timeless(report: &Report) -> Value {
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
    let mut value = json!(report);
    strip(&mut value);
    value
}

/// The worth of the candidate's note, as its event says.
fn worth(told: &[Value], c: &Candidate) -> f32 {
    let told = told.iter().find(|e| {
        e["round"] == c.round && e["context"] == c.context && e["candidate"] == c.candidate
    });
    told.unwrap()["edit"]["worth"].as_f64().unwrap() as f32
}

#[test]
fn what_teaches_no_more_than_the_context_alone_is_not_kept() {
    let (model, memory) = (counting(), Memory::default());
    let options = options(|o| {
        o.baseline = Baseline::ContextAlone;
        o.repeats = 2;
        o.rounds = 3;
    });
    let report = practise(&model, &memory, &contexts(), &options)
        .unwrap()
        .report;
    let edits = memory.events_of("candidate");
    for round in &report.rounds {
        // The toy's context alone is worth four; its self-edits are worth less and more.
        for c in &round.candidates {
            let worth = worth(&edits, c);
            let right = if worth == 0.0 { 2.0 } else { worth };
            assert!((c.accuracy_gain.unwrap() - (right - 4.0) / 10.0).abs() < 1e-6);
            let alone: Vec<_> = c.alone.iter().map(|r| (r.seed, r.right)).collect();
            let seeds: Vec<_> = c.repeats.iter().map(|r| (r.seed, 4)).collect();
            assert_eq!(alone, seeds);
            let kept = round.kept.contains(&(c.context, c.candidate));
            assert!(!kept || worth > 4.0, "{c:?}");
        }
        assert!(!round.kept.is_empty());
    }
    let no_more = |c: &&Candidate| c.accuracy_gain == Some(0.0);
    let all = report.rounds.iter().flat_map(|r| &r.candidates);
    assert!(
        all.filter(no_more).count() > 0,
        "none shows that an equal is not kept"
    );
}

#[test]
fn the_policy_learns_what_gained_and_is_scored_and_published() {
    let (model, memory) = (counting(), Memory::default());
    let options = options(|_| {});
    let outcome = practise(&model, &memory, &contexts(), &options).unwrap();
    assert_eq!(outcome.versions, [Some(1), Some(2)]);
    let report = outcome.report;
    assert_eq!(report.held_out_contexts.len(), 2);
    for round in &report.rounds {
        assert_eq!((round.contexts.len(), round.candidates.len()), (3, 12));
        assert!(
            round
                .contexts
                .iter()
                .all(|c| !report.held_out_contexts.contains(c))
        );
        // The gain is the note's worth less the two that the base knows.
        let edits = memory.events_of("candidate");
        for c in &round.candidates {
            let worth = worth(&edits, c);
            // What cannot be trained gains nothing.
            let gain = if worth == 0.0 {
                0.0
            } else {
                (worth - 2.0) / 10.0
            };
            assert!((c.reward - gain).abs() < 1e-6, "{c:?} {worth}");
        }
        let best_of = |context: usize| {
            let of = round.candidates.iter().filter(|c| c.context == context);
            of.max_by(|a, b| a.reward.total_cmp(&b.reward))
                .unwrap()
                .reward
        };
        for (context, candidate) in &round.kept {
            let kept = round.candidates.iter();
            let mut kept = kept.filter(|c| (c.context, c.candidate) == (*context, *candidate));
            assert_eq!(kept.next().unwrap().reward, best_of(*context));
        }
    }
    // The second round's policy continues the first's.
    let lessons = lessons(&model);
    assert_eq!(lessons.len(), 2);
    assert!(lessons[0].init.is_none() && lessons[1].init.is_some());
    assert_eq!(lessons[0].texts.len(), report.rounds[0].kept.len());
    assert_eq!(lessons[0].update.epochs, options.policy_training.epochs);
    // A trained policy's notes are worth two questions more, on the same seeds.
    let (before, after) = (
        report.before.unwrap(),
        report.rounds[0].held_out.clone().unwrap(),
    );
    for (b, a) in before.scores.iter().zip(&after.scores) {
        assert_eq!((b.context, b.seed), (a.context, a.seed));
    }
    assert!(after.gain.mean > before.gain.mean);
    assert_eq!(memory.published.lock().unwrap()[0].held_out, Some(after));
    assert_eq!(memory.events_of("round").len(), 2);
    assert_eq!(memory.events_of("held_out").len(), 3);
    assert_eq!(memory.events_of("round")[0]["version"], 1);
}

#[test]
fn a_run_stopped_anywhere_goes_on_and_repeats_nothing() {
    let options = options(|o| o.halving = true);
    let (model, memory) = (counting(), Memory::default());
    let undisturbed = practise(&model, &memory, &contexts(), &options).unwrap();
    let (steps, trained) = (memory.journal.remembered(), model.trainings().len());
    for stop in 0..steps {
        let (model, mut memory) = (counting(), Memory::default());
        memory.journal.stop_after_steps = Some(stop);
        let stopped = practise(&model, &memory, &contexts(), &options);
        assert!(
            matches!(stopped, Err(Interrupted::Stopped)),
            "after step {stop}"
        );
        memory.journal.stop_after_steps = None;
        // `Memory` fails if a step is done twice.
        let outcome = practise(&model, &memory, &contexts(), &options).unwrap();
        assert_eq!(timeless(&outcome.report), timeless(&undisturbed.report));
        assert_eq!(memory.events_of("candidate").len(), 24, "after step {stop}");
        // A pack that was not written down yet and the first halves whose adapters are lost are
        // trained again, nothing else.
        let again = model.trainings().len() - trained;
        assert!(
            again <= options.candidates * options.repeats,
            "{again} after {stop}"
        );
    }
}

#[test]
fn whole_trainings_that_finished_are_never_trained_again() {
    let options = options(|o| {
        o.pack = 1;
        o.baseline = Baseline::ContextAlone;
    });
    let (model, memory) = (counting(), Memory::default());
    practise(&model, &memory, &contexts(), &options).unwrap();
    let (steps, trained) = (memory.journal.remembered(), model.trainings().len());
    for stop in 0..steps {
        let (model, mut memory) = (counting(), Memory::default());
        memory.journal.stop_after_steps = Some(stop);
        practise(&model, &memory, &contexts(), &options)
            .map(|_| ())
            .unwrap_err();
        memory.journal.stop_after_steps = None;
        practise(&model, &memory, &contexts(), &options).unwrap();
        let again = model.trainings().len() - trained;
        assert!(again <= 1, "{again} after step {stop}");
    }
}

#[test]
fn every_number_can_be_made_again_from_its_seed() {
    let options = options(|_| {});
    let (model, memory) = (counting(), Memory::default());
    let first = practise(&model, &memory, &contexts(), &options).unwrap();
    for told in memory.events_of("candidate") {
        let never = || false;
        let model = Interruptible::new(&model, &never);
        let policy = (told["round"] == 2).then(|| numbered_adapter(0));
        let seed = told["seed"].as_u64().unwrap();
        let alone = Toy.write(model, policy.as_ref(), &String::new(), 1, seed);
        assert_eq!(json!(alone.unwrap()[0]), told["edit"]);
    }
    let seeds = |c: &Candidate| c.repeats.iter().map(|r| r.seed).collect::<Vec<_>>();
    let round = &first.report.rounds[0];
    // Candidates of a context start alike, repeats and contexts do not.
    assert_eq!(seeds(&round.candidates[0]), seeds(&round.candidates[1]));
    assert_ne!(seeds(&round.candidates[0]), seeds(&round.candidates[4]));
    let own = seeds(&round.candidates[0]);
    assert_ne!(own[0], own[1]);

    let again = practise(&model, &Memory::default(), &contexts(), &options).unwrap();
    assert_eq!(timeless(&first.report), timeless(&again.report));
    let mut other = options;
    other.seed = 8;
    let other = practise(&model, &Memory::default(), &contexts(), &other).unwrap();
    assert_ne!(timeless(&first.report), timeless(&other.report));
}

#[test]
fn packing_changes_no_result() {
    let report = |pack: usize| {
        let options = options(|o| o.pack = pack);
        let (model, memory) = (counting(), Memory::default());
        timeless(
            &practise(&model, &memory, &contexts(), &options)
                .unwrap()
                .report,
        )
    };
    assert_eq!(report(1), report(16));
}

#[test]
fn halving_finishes_only_the_better_half() {
    let options = options(|o| {
        o.halving = true;
        o.rounds = 1;
        o.held_out = 0;
    });
    let (model, memory) = (counting(), Memory::default());
    let outcome = practise(&model, &memory, &contexts(), &options).unwrap();
    let round = &outcome.report.rounds[0];
    for context in round.candidates.chunks(4) {
        let dropped: Vec<&Candidate> = context.iter().filter(|c| c.dropped).collect();
        assert_eq!(dropped.len(), 2);
        let worst = context.iter().filter(|c| !c.dropped);
        let worst = worst.map(|c| c.reward).fold(f32::MAX, f32::min);
        assert!(dropped.iter().all(|c| c.reward <= worst));
        assert!(
            !round
                .kept
                .iter()
                .any(|k| dropped.iter().any(|c| (c.context, c.candidate) == *k))
        );
    }
    let trained = candidates(&model);
    let of = |epochs: usize| trained.iter().filter(move |t| t.update.epochs == epochs);
    // Whatever is worth nothing is not trained at all.
    let trainable = |c: &&Candidate| c.accuracy_gain != Some(0.0) || c.repeats[0].epochs > 0;
    let whole = round
        .candidates
        .iter()
        .filter(|c| !c.dropped)
        .filter(trainable);
    assert_eq!(of(3).count(), 2 * whole.count());
    assert!(of(3).all(|t| t.init.is_some()));
    assert!(of(2).all(|t| t.init.is_none()));
    assert_eq!(of(5).count(), 0);
    // The candidate's epochs and reported costs are those of both parts together.
    let finished = round.candidates.iter().filter(|c| !c.dropped);
    for c in finished.filter(trainable) {
        assert!(c.repeats.iter().all(|r| r.epochs == 5), "{c:?}");
    }
}

#[test]
fn an_expected_reward_is_of_sampled_answers_and_reports_are_not() {
    let options = options(|o| {
        o.reward = Reward::Expected;
        o.rounds = 1;
    });
    let (model, memory) = (counting(), Memory::default());
    let outcome = practise(&model, &memory, &contexts(), &options).unwrap();
    let round = &outcome.report.rounds[0];
    for c in &round.candidates {
        assert_eq!(c.expected_gain, Some(c.reward));
        // The toy's shares go on where its right answers end.
        let shares: f32 = c.repeats.iter().map(|r| r.expected.unwrap()).sum();
        assert!((c.reward - (shares / 2.0 - 0.2)).abs() < 1e-6, "{c:?}");
    }
    let asked = |key: &str| memory.journal.recall(key).unwrap().unwrap()[0]["expected"].clone();
    let (practised, held_out) = (round.contexts[0], outcome.report.held_out_contexts[0]);
    assert!(asked(&format!("context:{practised}:before:Reward")).is_number());
    assert!(asked(&format!("context:{held_out}:before:Report")).is_null());
}

#[test]
fn a_rubric_trains_nothing_but_the_policy() {
    let options = options(|o| {
        o.reward = Reward::Rubric;
        o.rounds = 1;
        o.held_out = 0;
    });
    let (model, memory) = (counting(), Memory::default());
    let outcome = practise(&model, &memory, &contexts(), &options).unwrap();
    assert!(candidates(&model).is_empty());
    let round = &outcome.report.rounds[0];
    for c in &round.candidates {
        let told = memory.events_of("candidate");
        let told = told.iter().find(|e| e["seed"] == c.seed).unwrap();
        let worth = told["edit"]["worth"].as_f64().unwrap() as f32;
        if (1.0..=5.0).contains(&worth) {
            assert!((c.reward - (worth - 1.0) / 4.0).abs() < 1e-5, "{c:?}");
        }
    }
    assert_eq!(lessons(&model).len(), 1);
}

#[test]
fn a_round_without_gain_teaches_and_publishes_nothing() {
    // One candidate of a context that gains nothing: its worth is at most what the base knows.
    let options = options(|o| {
        o.candidates = 1;
        o.contexts_per_round = 1;
    });
    let contexts = contexts();
    let useless = (0..).find_map(|seed| {
        let options = OuterOptions {
            seed,
            ..options.clone()
        };
        let (model, memory) = (counting(), Memory::default());
        let outcome = practise(&model, &memory, &contexts, &options).unwrap();
        let nothing = outcome.report.rounds.iter().all(|r| r.reward <= 0.0);
        nothing.then_some((model, memory, outcome))
    });
    let (model, memory, outcome) = useless.unwrap();
    assert_eq!(outcome.versions, [None, None]);
    assert!(outcome.policy.is_none() && lessons(&model).is_empty());
    assert!(memory.published.lock().unwrap().is_empty());
    let report = outcome.report;
    assert_eq!(report.rounds[1].held_out, report.before);
    assert_eq!(memory.events_of("round").len(), 2);
    let kept_none = |note: &&String| note.contains("kept no self-edit");
    assert_eq!(report.notes(&options).iter().filter(kept_none).count(), 2);
}

#[test]
fn what_the_policy_has_practised_on_before_is_never_held_out_and_comes_last() {
    let (model, contexts) = (counting(), contexts());
    let options = options(|o| o.rounds = 1);
    for practised in [&[][..], &[0, 1, 2, 3, 5], &[0, 1, 2, 3, 4, 5, 6]] {
        let (tasks, memory) = (MemoryTasks::default(), Memory::default());
        let start = OuterLoop {
            practised,
            ..start(&model, &tasks, &memory, &contexts, &options)
        };
        let report = run(&start).unwrap().report;
        let unseen = contexts.len() - practised.len();
        assert_eq!(report.held_out_contexts.len(), unseen.min(2));
        let seen = |c: &&usize| practised.contains(c);
        assert_eq!(report.held_out_contexts.iter().filter(seen).count(), 0);
        let again = report.rounds[0].contexts.iter().filter(seen).count();
        assert_eq!(again, 3usize.saturating_sub(unseen.saturating_sub(2)));
    }
}

#[test]
fn a_round_goes_on_where_the_one_before_ended() {
    let (model, memory) = (counting(), Memory::default());
    // Two rounds of four, and one context that is of no use: each of the others is practised on once.
    let mut contexts = contexts();
    contexts.push("dumb".to_owned());
    let options = options(|o| {
        o.contexts_per_round = 4;
        o.held_out = 0;
    });
    let outcome = practise(&model, &memory, &contexts, &options).unwrap();
    let rounds = outcome.report.rounds.iter();
    let mut all: Vec<usize> = rounds.flat_map(|r| r.contexts.clone()).collect();
    all.sort();
    assert_eq!(all, (0..8).collect::<Vec<_>>());
}

#[test]
fn contexts_that_nothing_can_be_asked_about_are_passed_over() {
    let mut contexts = contexts();
    contexts.extend(vec!["dumb".to_owned(); 20]);
    let options = options(|o| o.rounds = 1);
    let (model, memory) = (counting(), Memory::default());
    let outcome = practise(&model, &memory, &contexts, &options).unwrap();
    let report = outcome.report;
    assert_eq!(report.rounds[0].contexts.len(), 3);
    assert!(report.rounds[0].contexts.iter().all(|c| *c < 8));
    assert!(!report.unusable_contexts.is_empty());
    assert!(report.unusable_contexts.iter().all(|c| *c >= 8));
}

/// A candidate of the first round, by what it was rewarded with.
pub(super) fn candidate(context: usize, candidate: usize, reward: f32) -> Candidate {
    Candidate {
        round: 1,
        context,
        title: String::new(),
        candidate,
        seed: 0,
        reward,
        accuracy_gain: None,
        likelihood_gain: None,
        expected_gain: None,
        rubric: None,
        dropped: false,
        repeats: Vec::new(),
        alone: Vec::new(),
        seconds: 0.0,
    }
}

#[test]
fn the_first_of_the_best_is_kept_or_all_that_gained() {
    let all = [
        candidate(5, 0, 0.2),
        candidate(5, 1, 0.4),
        candidate(5, 2, 0.4),
        candidate(9, 0, 0.0),
        candidate(9, 1, -0.1),
        candidate(2, 0, 0.1),
    ];
    assert_eq!(keep(&all, Keep::Best, |_| true), [(5, 1), (2, 0)]);
    assert_eq!(
        keep(&all, Keep::AllPositive, |_| true),
        [(5, 0), (5, 1), (5, 2), (2, 0)]
    );
    // What teaches nothing makes room for the next.
    let teaches = |c: &Candidate| (c.context, c.candidate) != (5, 1);
    assert_eq!(keep(&all, Keep::Best, teaches), [(5, 2), (2, 0)]);
}
