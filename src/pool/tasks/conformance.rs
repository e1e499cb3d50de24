//! The laws that every task queue must obey, whatever it is made of. A term of zero is over at once, so no test has to
//! wait.

use super::{MemoryTasks, StoredTasks};
use crate::learn::ports::tasks::{Lease, TaskError, TaskQueue};
use crate::store::tests::{open, submit};
use std::collections::HashSet;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(3600);
const OVER: Duration = Duration::ZERO;

#[test]
fn memory_conforms() {
    for law in LAWS {
        law(&MemoryTasks::default());
    }
}

#[test]
fn the_store_conforms() {
    for law in LAWS {
        let (_dir, store) = open();
        let job = submit(&store, "a", &[]);
        law(&StoredTasks::new(store, job.id));
    }
}

type Law = fn(&dyn TaskQueue);

/// The first of two groups.
const G: &str = "g";
const H: &str = "h";

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

fn fenced<T: std::fmt::Debug>(result: crate::learn::ports::tasks::Result<T>) -> bool {
    matches!(result, Err(TaskError::Fenced { .. }))
}

fn tasks_are_leased_once_in_order(queue: &dyn TaskQueue) {
    offer(queue, G, &["b", "a"]);
    offer(queue, H, &["b"]);
    let first = lease(queue, G, LONG).unwrap();
    let second = lease(queue, G, LONG).unwrap();
    assert_eq!((first.key.as_str(), second.key.as_str()), ("b", "a"));
    assert_eq!(lease(queue, G, LONG), None);
    assert_eq!(queue.open(G).unwrap(), 2);
    queue.complete(&first).unwrap();
    assert_eq!((queue.open(G).unwrap(), queue.open(H).unwrap()), (1, 1));
    assert!(fenced(queue.complete(&first)), "it is done already");
    assert_eq!(lease(queue, H, LONG).unwrap().key, "b");
}

fn a_silent_worker_loses_its_task_and_is_fenced(queue: &dyn TaskQueue) {
    offer(queue, G, &["a"]);
    let late = lease(queue, G, OVER).unwrap();
    let next = lease(queue, G, LONG).unwrap();
    assert_eq!((&next.key, next.fence), (&late.key, late.fence + 1));
    assert!(fenced(queue.heartbeat(&late, LONG)));
    assert!(fenced(queue.complete(&late)));
    assert!(fenced(queue.give_back(&late)));
    assert_eq!(lease(queue, G, LONG), None, "the next one still holds it");
    queue.complete(&next).unwrap();
    assert_eq!(queue.open(G).unwrap(), 0);
}

fn a_heartbeat_keeps_the_task(queue: &dyn TaskQueue) {
    offer(queue, G, &["a"]);
    let held = lease(queue, G, OVER).unwrap();
    // The lease is over, but no other worker has taken the task.
    queue.heartbeat(&held, LONG).unwrap();
    assert_eq!(lease(queue, G, LONG), None);
    queue.complete(&held).unwrap();
}

fn what_is_given_back_is_leased_again(queue: &dyn TaskQueue) {
    offer(queue, G, &["a", "b"]);
    let a = lease(queue, G, LONG).unwrap();
    queue.give_back(&a).unwrap();
    let again = lease(queue, G, LONG).unwrap();
    assert_eq!((again.key.as_str(), again.fence), ("a", a.fence + 1));
    assert!(fenced(queue.complete(&a)));
}

fn offering_again_takes_back_and_keeps_what_is_done(queue: &dyn TaskQueue) {
    offer(queue, G, &["a", "b"]);
    let a = lease(queue, G, LONG).unwrap();
    queue.complete(&a).unwrap();
    let b = lease(queue, G, LONG).unwrap();
    offer(queue, G, &["a", "b", "c"]);
    assert!(fenced(queue.complete(&b)), "a former life's worker");
    let keys = [lease(queue, G, LONG), lease(queue, G, LONG)].map(|l| l.unwrap().key);
    assert_eq!(keys, ["b", "c"]);
    assert_eq!(lease(queue, G, LONG), None);
}

fn many_workers_share_the_work(queue: &dyn TaskQueue) {
    let keys: Vec<String> = (0..40).map(|i| format!("{i:02}")).collect();
    queue.offer(G, &keys).unwrap();
    let work = || {
        let mut done = Vec::new();
        while let Some(task) = lease(queue, G, LONG) {
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
    assert_eq!((done.len(), queue.open(G).unwrap()), (40, 0));
    assert_eq!(done.into_iter().collect::<HashSet<_>>().len(), 40);
}
