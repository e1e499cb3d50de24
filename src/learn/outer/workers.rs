//! Distribution of a round's contexts to the workers, one worker per engine. A worker leases the next context, measures
//! its candidates, and completes the task. All measurements are in the journal. If a worker fails or falls silent,
//! another worker leases the task and continues from the journal.

use super::expectation::RoundContext;
use super::{OuterLoop, Run};
use crate::learn::outer::domain::Domain;
use crate::learn::ports::journal::Interrupted;
use crate::learn::ports::model::Model;
use crate::learn::ports::tasks::{Lease, TaskError};
use serde_json::json;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The lease's term: a worker silent for longer loses its task. Many times an optimizer step on a busy machine.
const TERM: Duration = Duration::from_secs(600);
/// The interval between a worker's heartbeats.
const BEAT: Duration = Duration::from_secs(30);
/// The interval at which an idle worker looks for returned tasks.
const LOOK: Duration = Duration::from_millis(100);

/// The task that a worker holds.
pub(super) struct Held {
    lease: Lease,
    /// The time of the last heartbeat.
    beaten: Mutex<Instant>,
}

impl<'a, D: Domain> Run<'a, D> {
    /// Measures the candidates of every context. On return all of them are in the journal. Fails if contexts remain
    /// because a worker failed; a failed worker whose task another one finished is only reported.
    pub(super) fn share_out(
        &self,
        round: usize,
        practised: &[RoundContext<'_, D>],
    ) -> Result<(), Interrupted> {
        let OuterLoop { tasks, options, .. } = self.input;
        // Each round has its own group, so tasks that a crashed run left in another round are not waited for.
        let group = &group(round);
        let keys: Vec<String> = practised.iter().map(key).collect();
        tasks.offer(group, &keys).map_err(refused)?;
        let done = keys.len() - tasks.open(group).map_err(refused)?.min(keys.len());
        self.meter
            .skip(done as f32 * super::trials_of_context(options));
        let models = std::iter::once(self.input.model).chain(self.input.others.iter().copied());
        let ends: Vec<Result<(), Interrupted>> = std::thread::scope(|scope| {
            let spawn = |(nth, model): (usize, &'a dyn Model)| {
                scope.spawn(move || self.work(nth, model, round, practised))
            };
            let workers: Vec<_> = models.enumerate().map(spawn).collect();
            let join = |w: std::thread::ScopedJoinHandle<'_, Result<(), Interrupted>>| {
                w.join().unwrap_or_else(|p| std::panic::resume_unwind(p))
            };
            workers.into_iter().map(join).collect()
        });
        let open = tasks.open(group).map_err(refused)?;
        for (worker, end) in ends.into_iter().enumerate() {
            match end {
                Err(stop) if open > 0 => return Err(stop),
                // The other workers finished the failed worker's task.
                Err(stop) => {
                    let data = json!({"worker": worker, "error": stop.to_string()});
                    self.input.journal.event("worker_failed", data);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// One worker: measures contexts until no task of the round is open.
    fn work(
        &self,
        nth: usize,
        model: &'a dyn Model,
        round: usize,
        practised: &[RoundContext<'_, D>],
    ) -> Result<(), Interrupted> {
        let (tasks, group) = (self.input.tasks, &group(round));
        let owner = format!("worker-{nth}");
        loop {
            self.input.journal.check()?;
            let lease = tasks.lease(group, &owner, TERM).map_err(refused)?;
            let Some(lease) = lease else {
                if tasks.open(group).map_err(refused)? == 0 {
                    return Ok(());
                }
                std::thread::sleep(LOOK);
                continue;
            };
            let context = practised.iter().position(|c| key(c) == lease.key);
            let context = context.map(|nth| (nth, &practised[nth]));
            let run = self.on(model, &lease);
            let measured = context.map_or(Ok(()), |(nth, c)| {
                run.candidates(round, nth, practised.len(), c)
            });
            match measured {
                Ok(()) => match tasks.complete(&lease) {
                    // A worker that leased the task meanwhile finds all measurements in the journal.
                    Ok(()) | Err(TaskError::Fenced { .. }) => {}
                    Err(error) => return Err(refused(error)),
                },
                Err(stop) => match tasks.give_back(&lease) {
                    Err(TaskError::Fenced { .. }) => {}
                    _ => return Err(stop),
                },
            }
        }
    }

    /// The run as the worker with this engine and lease.
    fn on(&self, model: &'a dyn Model, lease: &Lease) -> Run<'a, D> {
        Run {
            input: self.input,
            model,
            meter: self.meter.clone(),
            held: Some(Held {
                lease: lease.clone(),
                beaten: Mutex::new(Instant::now()),
            }),
        }
    }

    /// Sends a heartbeat if one is due. Fails if another worker has leased the task.
    pub(super) fn beat(&self) -> Result<(), Interrupted> {
        let Some(held) = &self.held else {
            return Ok(());
        };
        let mut beaten = held.beaten.lock().unwrap_or_else(PoisonError::into_inner);
        if beaten.elapsed() < BEAT {
            return Ok(());
        }
        *beaten = Instant::now();
        let beat = self.input.tasks.heartbeat(&held.lease, TERM);
        beat.map_err(refused)
    }
}

fn group(round: usize) -> String {
    format!("round:{round}")
}

fn key<D: Domain>(context: &RoundContext<'_, D>) -> String {
    format!("context:{}", context.index)
}

fn refused(error: TaskError) -> Interrupted {
    Interrupted::Journal(error.to_string())
}
