//! The engine's thread: its turns, and the handling of an executor that fails.

use super::generation::Generation;
use super::prefix::{PrefillStart, PrefixCache};
use super::scoring::Scoring;
use super::training::Training;
use super::{EngineOptions, EngineStats, GenerateRequest, Priority};
use crate::batch::PackedBatch;
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::weights::ModelFiles;
use rayon::prelude::*;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(super) enum Command {
    Generate(GenerateRequest),
    Score(Scoring),
    Train(Training),
}

/// What the handles see of the thread.
#[derive(Default)]
pub(super) struct Shared(Mutex<SharedState>);

#[derive(Default)]
struct SharedState {
    stats: EngineStats,
    /// Interactive requests sent and not yet admitted.
    queued: usize,
    /// Moving average of the duration of finished generations.
    request_seconds: f64,
}

impl Shared {
    pub fn stats(&self) -> EngineStats {
        self.lock().stats.clone()
    }

    /// Counts an interactive request into the queue, unless the queue is full.
    pub fn join_queue(&self, max_waiting: usize) -> Result<()> {
        let mut state = self.lock();
        if state.queued >= max_waiting {
            let places = state.stats.running.max(1) as f64;
            let seconds = state.request_seconds * state.queued as f64 / places;
            return Err(Error::Full {
                waiting: state.queued,
                retry_after_seconds: seconds.clamp(1.0, 60.0).ceil() as u64,
            });
        }
        state.queued += 1;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, SharedState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Worker {
    files: Arc<ModelFiles>,
    executor: Box<dyn Executor>,
    options: EngineOptions,
    window: usize,
    shared: Arc<Shared>,
    /// A queue for each [`Priority`].
    waiting: [VecDeque<Generation>; 3],
    /// Ordered by priority, then by admission.
    running: Vec<Generation>,
    scoring: Vec<Scoring>,
    training: Vec<Training>,
    cache: PrefixCache,
    totals: EngineStats,
    /// Seconds that decoding may run before the next slice of scoring or training.
    stream_credit: f64,
    /// When an interactive sequence last generated.
    streamed_at: Option<Instant>,
}

/// How long after a stream another stream is expected. A large micro-batch that began between the two would delay
/// the second, part by part.
const RECENT_STREAM: Duration = Duration::from_secs(10);

impl Worker {
    pub fn new(
        files: Arc<ModelFiles>,
        executor: Box<dyn Executor>,
        options: EngineOptions,
        window: usize,
        shared: Arc<Shared>,
    ) -> Self {
        Worker {
            files,
            executor,
            cache: PrefixCache::new(options.cache_tokens),
            options,
            window,
            shared,
            waiting: Default::default(),
            running: Vec::new(),
            scoring: Vec::new(),
            training: Vec::new(),
            totals: EngineStats::default(),
            stream_credit: 0.0,
            streamed_at: None,
        }
    }

    /// Works until the last handle is dropped.
    pub fn run(mut self, commands: Receiver<Command>) {
        while self.listen(&commands) {
            self.admit();
            let turn = Instant::now();
            self.generate();
            if self.streaming() {
                self.streamed_at = Some(turn);
            }
            self.stream_credit -= turn.elapsed().as_secs_f64();
            if self.stream_credit <= 0.0 || !self.streaming() {
                let slices = Instant::now();
                self.score();
                self.train();
                let share = f64::from(self.options.train_share.clamp(0.01, 1.0));
                self.stream_credit = slices.elapsed().as_secs_f64() * (1.0 - share) / share;
            }
            self.cache.sweep(self.executor.as_mut());
            self.publish();
        }
        let stopped = Error::Stopped.to_string();
        let executor = self.executor.as_mut();
        for generation in self.waiting.iter_mut().flatten().chain(&mut self.running) {
            generation.fail(&stopped, executor);
        }
    }

    /// Takes the commands sent meanwhile; sleeps if there is nothing to do. `false`: all handles are dropped.
    fn listen(&mut self, commands: &Receiver<Command>) -> bool {
        let idle = self.running.is_empty()
            && self.scoring.is_empty()
            && self.training.is_empty()
            && self.waiting.iter().all(VecDeque::is_empty);
        if idle {
            match commands.recv() {
                Ok(command) => self.take(command),
                Err(_) => return false,
            }
        }
        loop {
            match commands.try_recv() {
                Ok(command) => self.take(command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Generate(request) => {
                let queue = &mut self.waiting[request.priority as usize];
                queue.push_back(Generation::new(request, self.window));
            }
            Command::Score(scoring) => self.scoring.push(scoring),
            Command::Train(training) => self.training.push(training),
        }
    }

    /// Gives free places to waiting requests. Interactive requests count only each other, so background work never
    /// takes their places. A request that waits for another's prefill keeps its place in its queue. Memory is
    /// shared by all: a request never takes memory that a more urgent or earlier request waits for, since that one
    /// might wait forever.
    fn admit(&mut self) {
        'admitting: for priority in [Priority::Interactive, Priority::Ingest, Priority::Outer] {
            let interactive = priority == Priority::Interactive;
            let mut at = 0;
            while let Some(next) = self.waiting[priority as usize].get(at) {
                let counted = |g: &&Generation| !interactive || g.priority == priority;
                let taken: usize = (self.running.iter().filter(counted))
                    .map(Generation::places)
                    .sum();
                if taken + next.places() > self.options.places(priority) {
                    break;
                }
                let reserved = self.reserved();
                if reserved + next.kv_tokens(self.executor.kv_page())
                    > self.options.kv_budget_tokens
                {
                    break 'admitting;
                }
                let executor = self.executor.as_ref();
                let start = self.cache.prefill_start(next, &self.running, executor);
                if start == PrefillStart::Wait {
                    at += 1;
                    continue;
                }
                let Some(next) = self.waiting[priority as usize].remove(at) else {
                    break;
                };
                if interactive {
                    self.shared.lock().queued -= 1;
                }
                self.begin(next, start);
            }
        }
        self.running.sort_by_key(|g| g.priority);
        let reserved = self.reserved();
        let left = self.options.kv_budget_tokens.saturating_sub(reserved);
        self.cache.trim(left, self.executor.as_mut());
    }

    /// Most tokens that the slots of running generations may come to hold.
    fn reserved(&self) -> usize {
        let page = self.executor.kv_page();
        self.running.iter().map(|g| g.kv_tokens(page)).sum()
    }

    fn begin(&mut self, mut next: Generation, start: PrefillStart) {
        let executor = self.executor.as_mut();
        let slot = catch_panic(|| match start {
            PrefillStart::Fork { slot, len } => {
                let fork = executor.kv_fork(slot, len);
                self.totals.cached_tokens += len as u64;
                Ok(fork)
            }
            _ => Ok(executor.kv_new()),
        });
        match slot {
            Ok(slot) => {
                next.prefill = Some(slot);
                self.running.push(next);
            }
            Err(error) => next.fail(&message(error), executor),
        }
    }

    /// One packed forward pass: a token for every sequence that generates, and as much of the prompts as fits.
    fn generate(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let DecodeBatch {
            batch,
            wanted,
            in_batch,
        } = self.assemble();
        let vocab = self.files.config.vocab_size;
        let executor = self.executor.as_mut();
        let outcome = catch_panic(|| {
            let logits = executor.forward(&batch, &wanted)?;
            if logits.len() != wanted.len() * vocab {
                return Err(Error::Executor("it returned too few logits".into()));
            }
            Ok(logits)
        });
        drop(batch);
        match outcome.and_then(|logits| self.draw(&logits)) {
            Ok(()) => self.advance(),
            Err(error) => {
                let (error, executor) = (message(error), self.executor.as_mut());
                tracing::error!(error, "a batch of generation failed");
                let concerned = self.running.iter_mut().zip(in_batch);
                for (generation, _) in concerned.filter(|(_, part)| *part) {
                    generation.fail(&error, executor);
                }
            }
        }
        self.retire();
    }

    fn assemble(&mut self) -> DecodeBatch {
        let mut batch = PackedBatch::new();
        let mut wanted = Vec::new();
        let mut in_batch = vec![false; self.running.len()];
        let executor = self.executor.as_ref();
        for (generation, part) in self.running.iter_mut().zip(&mut in_batch) {
            for sample in &mut generation.samples {
                let Some(slot) = sample.slot else { continue };
                let start = executor.kv_len(slot);
                let rows = batch.push(&[sample.last], start, Some(slot), &generation.adapters);
                sample.row = Some(wanted.len());
                wanted.push(rows.start);
                *part = true;
            }
        }
        // Prompts go on, however many sequences decode.
        let budget = self.options.max_batch_tokens.max(batch.tokens.len() + 16);
        for (generation, part) in self.running.iter_mut().zip(&mut in_batch) {
            let Some(slot) = generation.prefill else {
                continue;
            };
            let start = executor.kv_len(slot);
            let rest = &generation.prompt[start..];
            let length = rest.len().min(budget - batch.tokens.len());
            if length == 0 {
                break;
            }
            let rows = batch.push(&rest[..length], start, Some(slot), &generation.adapters);
            self.totals.prompt_tokens += length as u64;
            *part = true;
            if length == rest.len() {
                for sample in &mut generation.samples {
                    sample.row = Some(wanted.len());
                }
                wanted.push(rows.end - 1);
            }
        }
        DecodeBatch {
            batch,
            wanted,
            in_batch,
        }
    }

    /// Samples from the logits, in parallel, and forks the slot of a computed prompt for its samples.
    fn draw(&mut self, logits: &[f32]) -> Result<()> {
        let vocab = self.files.config.vocab_size;
        let samples = (self.running.par_iter_mut()).flat_map(|g| g.samples.par_iter_mut());
        samples.for_each(|sample| {
            if let Some(row) = sample.row.take() {
                sample.drawn = Some(sample.sampler.sample(&logits[row * vocab..][..vocab]));
            }
        });
        let executor = self.executor.as_mut();
        catch_panic(|| {
            let drawn = |g: &&mut Generation| g.samples.iter().any(|s| s.drawn.is_some());
            for generation in self.running.iter_mut().filter(drawn) {
                generation.fork_samples(executor);
            }
            Ok(())
        })
    }

    fn advance(&mut self) {
        let executor = self.executor.as_mut();
        for generation in &mut self.running {
            for index in 0..generation.samples.len() {
                if let Some(drawn) = generation.samples[index].drawn.take() {
                    self.totals.completion_tokens += 1;
                    let cache = &mut self.cache;
                    generation.advance(index, drawn, &self.files, executor, cache);
                }
            }
        }
    }

    fn retire(&mut self) {
        let mut state = self.shared.lock();
        self.running.retain(|generation| {
            if generation.done() {
                let seconds = generation.created.elapsed().as_secs_f64();
                state.request_seconds += 0.1 * (seconds - state.request_seconds);
            }
            !generation.done()
        });
    }

    fn score(&mut self) {
        let executor = self.executor.as_mut();
        let unwanted = self.scoring.extract_if(.., |job| !job.has_caller());
        unwanted.for_each(|mut job| job.abandon(executor));
        let Some(at) = most_urgent(&self.scoring, |s| s.priority) else {
            return;
        };
        let budget = self.slice_tokens();
        let (job, executor) = (&mut self.scoring[at], self.executor.as_mut());
        let reply = match catch_panic(|| job.slice(executor, budget)) {
            Ok(slice) => {
                self.totals.scored_tokens += slice.tokens as u64;
                self.totals.cached_tokens += slice.cached as u64;
                job.done().then(|| Ok(job.take()))
            }
            Err(error) => {
                job.abandon(executor);
                Some(Err(error))
            }
        };
        if let Some(reply) = reply {
            // The caller may be gone.
            let _ = self.scoring.remove(at).reply.send(reply);
        }
    }

    fn train(&mut self) {
        // A part of a step that nobody waits for is dropped with it: the next step begins anew.
        self.training.retain(Training::has_caller);
        let begun = self.training.iter().position(Training::under_way);
        let Some(at) = begun.or_else(|| most_urgent(&self.training, |t| t.priority)) else {
            return;
        };
        let budget = self.slice_tokens();
        let (job, executor) = (&mut self.training[at], self.executor.as_mut());
        let reply = match catch_panic(|| job.slice(executor, budget)) {
            Ok(tokens) => {
                self.totals.trained_tokens += tokens as u64;
                job.done().then(|| Ok(job.take()))
            }
            Err(error) => Some(Err(error)),
        };
        if let Some(reply) = reply {
            let _ = self.training.remove(at).reply.send(reply);
        }
    }

    /// Most tokens of a slice: few while an interactive sequence generates, and shortly after.
    fn slice_tokens(&self) -> usize {
        match self
            .streamed_at
            .is_some_and(|at| at.elapsed() < RECENT_STREAM)
        {
            true => self.options.train_slice_tokens,
            false => self.options.max_batch_tokens,
        }
    }

    fn streaming(&self) -> bool {
        let interactive = |g: &Generation| g.priority == Priority::Interactive;
        self.running.iter().any(interactive)
    }

    fn publish(&mut self) {
        let running = self.running.iter().flat_map(Generation::slots);
        let slots = running.chain(self.scoring.iter().flat_map(Scoring::slots));
        let in_use: usize = slots.map(|slot| self.executor.kv_len(slot)).sum();
        let stats = EngineStats {
            running: self.running.iter().map(Generation::places).sum(),
            waiting: self.waiting.iter().map(VecDeque::len).sum(),
            kv_tokens: in_use + self.cache.tokens(),
            prefix_tokens: self.cache.tokens(),
            training: self.training.iter().map(Training::candidates).sum(),
            scoring: self.scoring.len(),
            ..self.totals.clone()
        };
        self.shared.lock().stats = stats;
    }
}

struct DecodeBatch {
    batch: PackedBatch,
    wanted: Vec<usize>,
    /// For each running generation, whether it has rows in the batch.
    in_batch: Vec<bool>,
}

/// The index of the most urgent job, the oldest of equals.
fn most_urgent<T>(jobs: &[T], priority: impl Fn(&T) -> Priority) -> Option<usize> {
    (0..jobs.len()).min_by_key(|i| priority(&jobs[*i]))
}

/// Runs work of the executor; a panic becomes an error.
fn catch_panic<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic_text(panic.as_ref());
        Err(Error::Executor(format!("it panicked: {text}")))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let string = panic.downcast_ref::<String>().map(String::as_str);
    let text = string.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message")
}

/// The error's text for a request's sink; the handle adds the prefix of [`Error::Executor`] again.
fn message(error: Error) -> String {
    match error {
        Error::Executor(message) => message,
        other => other.to_string(),
    }
}
