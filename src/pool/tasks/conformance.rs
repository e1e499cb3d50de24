//! What every task queue must do, whatever it is made of. A term of nothing is over at once, so that no
//! test has to wait.

use super::{Lease, MemoryTasks, StoredTasks, TaskError, TaskQueue};
use crate::store::tests::{open, submit};
use std::collections::HashSet;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);
const OVER: Duration = Duration::ZERO;

#[test]
fn memory_conforms() {
    for law in LAWS {
        law(&MemoryTasks::default(), ["g", "h"]);
    }
}

#[test]
fn the_store_conforms() {
    for law in LAWS {
        let (_dir, store) = open();
        let jobs = [submit(&store, "a", &[]), submit(&store, "b", &[])];
        law(&StoredTasks::new(store), [&jobs[0].id, &jobs[1].id]);
    }
}

type Law = fn(&dyn TaskQueue, [&str; 2]);

const LAWS: [Law; 6] = [
    tasks_are_leased_once_in_order,
    a_silent_worker_loses_its_task_and_is_fenced,
    a_heartbeat_keeps_the_task,
    what_is_given_back_is_leased_again,
    offering_again_takes_back_and_keeps_what_is_done,
    many_workers_share_the_work,
];

fn offer(queue: &dyn TaskQueue, group: &str, keys: &[&str]) {
    let keys: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
    queue.offer(group, &keys).unwrap();
}

fn lease(queue: &dyn TaskQueue, group: &str, term: Duration) -> Option<Lease> {
    queue.lease(group, "worker", term).unwrap()
}

fn fenced<T: std::fmt::Debug>(result: super::Result<T>) -> bool {
    matches!(result, Err(TaskError::Fenced { .. }))
}

fn tasks_are_leased_once_in_order(queue: &dyn TaskQueue, [g, h]: [&str; 2]) {
    offer(queue, g, &["b", "a"]);
    offer(queue, h, &["b"]);
    let first = lease(queue, g, LONG).unwrap();
    let second = lease(queue, g, LONG).unwrap();
    assert_eq!((first.key.as_str(), second.key.as_str()), ("b", "a"));
    assert_eq!(lease(queue, g, LONG), None);
    assert_eq!(queue.open(g).unwrap(), 2);
    queue.complete(&first).unwrap();
    assert_eq!((queue.open(g).unwrap(), queue.open(h).unwrap()), (1, 1));
    assert!(fenced(queue.complete(&first)), "it is done already");
    assert_eq!(lease(queue, h, LONG).unwrap().key, "b");
}

fn a_silent_worker_loses_its_task_and_is_fenced(queue: &dyn TaskQueue, [g, _]: [&str; 2]) {
    offer(queue, g, &["a"]);
    let late = lease(queue, g, OVER).unwrap();
    let next = lease(queue, g, LONG).unwrap();
    assert_eq!((&next.key, next.fence), (&late.key, late.fence + 1));
    assert!(fenced(queue.heartbeat(&late, LONG)));
    assert!(fenced(queue.complete(&late)));
    assert!(fenced(queue.give_back(&late)));
    assert_eq!(lease(queue, g, LONG), None, "the next one still holds it");
    queue.complete(&next).unwrap();
    assert_eq!(queue.open(g).unwrap(), 0);
}

fn a_heartbeat_keeps_the_task(queue: &dyn TaskQueue, [g, _]: [&str; 2]) {
    offer(queue, g, &["a"]);
    let held = lease(queue, g, OVER).unwrap();
    // Late, but nobody has taken it.
    queue.heartbeat(&held, LONG).unwrap();
    assert_eq!(lease(queue, g, LONG), None);
    queue.complete(&held).unwrap();
}

fn what_is_given_back_is_leased_again(queue: &dyn TaskQueue, [g, _]: [&str; 2]) {
    offer(queue, g, &["a", "b"]);
    let a = lease(queue, g, LONG).unwrap();
    queue.give_back(&a).unwrap();
    let again = lease(queue, g, LONG).unwrap();
    assert_eq!((again.key.as_str(), again.fence), ("a", a.fence + 1));
    assert!(fenced(queue.complete(&a)));
}

fn offering_again_takes_back_and_keeps_what_is_done(queue: &dyn TaskQueue, [g, _]: [&str; 2]) {
    offer(queue, g, &["a", "b"]);
    let a = lease(queue, g, LONG).unwrap();
    queue.complete(&a).unwrap();
    let b = lease(queue, g, LONG).unwrap();
    offer(queue, g, &["a", "b", "c"]);
    assert!(fenced(queue.complete(&b)), "a former life's worker");
    let keys = [lease(queue, g, LONG), lease(queue, g, LONG)].map(|l| l.unwrap().key);
    assert_eq!(keys, ["b", "c"]);
    assert_eq!(lease(queue, g, LONG), None);
}

fn many_workers_share_the_work(queue: &dyn TaskQueue, [g, _]: [&str; 2]) {
    let keys: Vec<String> = (0..40).map(|i| format!("{i:02}")).collect();
    queue.offer(g, &keys).unwrap();
    let work = || {
        let mut done = Vec::new();
        while let Some(task) = lease(queue, g, LONG) {
            queue.complete(&task).unwrap();
            done.push(task.key);
        }
        done
    };
    let done: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|w| w.join().unwrap())
            .collect()
    });
    assert_eq!((done.len(), queue.open(g).unwrap()), (40, 0));
    assert_eq!(done.into_iter().collect::<HashSet<_>>().len(), 40);
}
