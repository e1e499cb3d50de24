//! A task queue in memory, for commands and tests. Its tasks end with the process.

use crate::learn::ports::tasks::{Lease, Result, TaskError, TaskQueue};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The queue. Tasks are leased in the order in which they were offered.
#[derive(Default)]
pub struct MemoryTasks {
    tasks: Mutex<Vec<Task>>,
}

struct Task {
    group: String,
    key: String,
    fence: u64,
    state: State,
}

enum State {
    Offered,
    Leased(Instant),
    Done,
}

impl MemoryTasks {
    fn tasks(&self) -> MutexGuard<'_, Vec<Task>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state of the task under this lease. Fails if the task is no longer held by it.
    fn move_held(&self, lease: &Lease, state: State) -> Result<()> {
        let mut tasks = self.tasks();
        let held = tasks.iter_mut().find(|t| {
            let leased = matches!(t.state, State::Leased(_));
            leased && t.group == lease.group && t.key == lease.key && t.fence == lease.fence
        });
        let fenced = || TaskError::Fenced {
            key: lease.key.clone(),
        };
        held.ok_or_else(fenced)?.state = state;
        Ok(())
    }
}

impl TaskQueue for MemoryTasks {
    fn offer(&self, group: &str, keys: &[String]) -> Result<()> {
        let mut tasks = self.tasks();
        for key in keys {
            match tasks.iter_mut().find(|t| t.group == group && t.key == *key) {
                None => tasks.push(Task {
                    group: group.to_owned(),
                    key: key.clone(),
                    fence: 0,
                    state: State::Offered,
                }),
                Some(task) if matches!(task.state, State::Leased(_)) => task.state = State::Offered,
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn lease(&self, group: &str, _: &str, term: Duration) -> Result<Option<Lease>> {
        let now = Instant::now();
        let free = |t: &&mut Task| {
            t.group == group
                && match t.state {
                    State::Offered => true,
                    State::Leased(until) => until <= now,
                    State::Done => false,
                }
        };
        let mut tasks = self.tasks();
        Ok(tasks.iter_mut().find(free).map(|task| {
            task.fence += 1;
            task.state = State::Leased(now + term);
            Lease {
                group: task.group.clone(),
                key: task.key.clone(),
                fence: task.fence,
            }
        }))
    }

    fn heartbeat(&self, lease: &Lease, term: Duration) -> Result<()> {
        self.move_held(lease, State::Leased(Instant::now() + term))
    }

    fn complete(&self, lease: &Lease) -> Result<()> {
        self.move_held(lease, State::Done)
    }

    fn give_back(&self, lease: &Lease) -> Result<()> {
        self.move_held(lease, State::Offered)
    }

    fn open(&self, group: &str) -> Result<usize> {
        let tasks = self.tasks();
        let open = tasks.iter().filter(|t| t.group == group);
        Ok(open.filter(|t| !matches!(t.state, State::Done)).count())
    }
}
