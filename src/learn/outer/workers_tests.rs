//! The loop over several workers, on the toy domain.

use super::tests::{contexts, options, practise, start, timeless};
use super::toy::{Memory, broken, counting};
use super::{OuterLoop, run};
use crate::learn::ports::tasks::TaskQueue;
use crate::pool::tasks::MemoryTasks;

#[test]
fn several_workers_measure_what_one_does() {
    let options = options(|o| o.halving = true);
    let (model, memory) = (counting(), Memory::default());
    let alone = practise(&model, &memory, &contexts(), &options).unwrap();
    let (workers, memory) = ([counting(), counting()], Memory::default());
    let (tasks, contexts) = (MemoryTasks::default(), contexts());
    let outcome = run(&OuterLoop {
        others: &[&workers[0], &workers[1]],
        ..start(&model, &tasks, &memory, &contexts, &options)
    });
    assert_eq!(timeless(&outcome.unwrap().report), timeless(&alone.report));
    assert_eq!(memory.events_of("candidate").len(), 24);
}

#[test]
fn what_a_failing_worker_leaves_the_others_finish() {
    let options = options(|o| {
        o.rounds = 1;
        o.held_out = 0;
    });
    let (model, memory) = (counting(), Memory::default());
    let alone = practise(&model, &memory, &contexts(), &options).unwrap();
    let (broken, memory) = (broken(), Memory::default());
    let (tasks, contexts) = (MemoryTasks::default(), contexts());
    let start = OuterLoop {
        others: &[&broken],
        ..start(&model, &tasks, &memory, &contexts, &options)
    };
    let outcome = run(&start).unwrap();
    assert_eq!(timeless(&outcome.report), timeless(&alone.report));

    // With nobody else left its error is the run's.
    let memory = Memory::default();
    let start = OuterLoop {
        model: &broken,
        others: &[],
        tasks: &MemoryTasks::default(),
        journal: &memory.journal,
        policies: &memory,
        ..start
    };
    let stop = run(&start).map(|_| ()).unwrap_err();
    assert!(stop.to_string().contains("the device is gone"), "{stop}");
}

#[test]
fn a_round_waits_for_no_task_of_another() {
    let options = options(|_| {});
    let (model, memory) = (counting(), Memory::default());
    let alone = practise(&model, &memory, &contexts(), &options).unwrap();
    // A life that was killed in its second round left its tasks leased.
    let (tasks, term) = (MemoryTasks::default(), std::time::Duration::from_secs(3600));
    let left: Vec<String> = (0..8).map(|i| format!("context:{i}")).collect();
    let ours = &alone.report.rounds[1].contexts;
    let left: Vec<String> = ours.iter().map(|c| left[*c].clone()).collect();
    tasks.offer("round:2", &left).unwrap();
    while tasks.lease("round:2", "killed", term).unwrap().is_some() {}
    let memory = Memory::default();
    let contexts = contexts();
    let outcome = run(&start(&model, &tasks, &memory, &contexts, &options));
    assert_eq!(timeless(&outcome.unwrap().report), timeless(&alone.report));
}
