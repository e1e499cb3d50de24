//! The handle: checks requests on the caller's thread, and passes them to the engine's.

use super::scoring::Scoring;
use super::training::{Enough, Training};
use super::worker::{Command, Shared, Worker};
use super::{
    CompleteRequest, Completion, EngineOptions, EngineStats, FinishReason, GenerateEvent,
    GenerateRequest, Priority, Progress, ScoreRequest, TrainRequest, Trained,
};
use crate::error::{Error, Result};
use crate::executor::{Executor, Score};
use crate::lora::Lora;
use crate::trainer::Candidate;
use crate::weights::ModelFiles;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::time::{Duration, Instant};

/// A handle to a running engine. The engine stops when the last handle is dropped.
///
/// ```
/// use autodidact_engine::*;
///
/// # let dir = tempfile::tempdir()?;
/// # tiny::write_tiny(dir.path(), Family::Llama, 0)?;
/// let files = ModelFiles::open(dir.path())?;
/// let executor = Cpu::new(&files, CpuOptions::default())?;
/// let engine = Engine::start(files.into(), Box::new(executor), EngineOptions::default());
///
/// let request = CompleteRequest {
///     prompt: engine.files().tokenizer.encode("Once upon a time")?,
///     adapters: vec![],
///     sampling: SamplingParams::greedy(8),
///     n: 1,
///     priority: Priority::Interactive,
/// };
/// let completions = engine.complete(vec![request])?;
/// assert!(completions[0][0].tokens.len() <= 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    files: Arc<ModelFiles>,
    options: EngineOptions,
    window: usize,
    /// See [`Executor::kv_page`].
    page: usize,
    shared: Arc<Shared>,
    commands: Sender<Command>,
    /// One thread that allocates all candidates. An allocator such as glibc's keeps freed memory for the thread that
    /// allocated it; on the callers' threads every training would take new memory for its gradients and moments.
    candidate_thread: Arc<ThreadPool>,
}

impl Engine {
    /// Starts the engine's thread over an executor of the same model as `files`.
    ///
    /// # Panics
    /// If the system cannot start a thread.
    pub fn start(
        files: Arc<ModelFiles>,
        executor: Box<dyn Executor>,
        options: EngineOptions,
    ) -> Engine {
        let model_window = files.config.max_position;
        let window = options.window.unwrap_or(model_window).min(model_window);
        let shared = Arc::new(Shared::default());
        let page = executor.kv_page();
        let (commands, receiver) = channel();
        let worker = Worker::new(
            files.clone(),
            executor,
            options.clone(),
            window,
            shared.clone(),
        );
        std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || worker.run(receiver))
            .expect("the system can start a thread");
        let candidate_thread = ThreadPoolBuilder::new().num_threads(1);
        let candidate_thread = candidate_thread
            .thread_name(|_| "candidates".into())
            .build();
        let candidate_thread = Arc::new(candidate_thread.expect("the system can start a thread"));
        Engine {
            files,
            options,
            window,
            page,
            shared,
            commands,
            candidate_thread,
        }
    }

    /// The model's files.
    pub fn files(&self) -> &ModelFiles {
        &self.files
    }

    /// The context window: most tokens of a prompt and its completion together.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The load and the totals, as of the last turn.
    pub fn stats(&self) -> EngineStats {
        self.shared.stats()
    }

    /// Starts generating and returns. Tokens and later errors come through the sink.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::TooLong`] or [`Error::Adapter`] if the request is wrong, [`Error::Full`] if the
    /// queue is full, [`Error::Stopped`] if the engine has ended.
    pub fn generate(&self, request: GenerateRequest) -> Result<()> {
        self.check_generate(&request)?;
        let interactive = request.priority == Priority::Interactive;
        if interactive {
            self.shared.join_queue(self.options.max_waiting)?;
        }
        self.send(Command::Generate(request))
    }

    /// Generates all samples of all requests together, and waits for them: `[request][sample]`. `max_waiting` does
    /// not apply, because the caller blocks.
    ///
    /// # Errors
    /// As [`Engine::generate`], and [`Error::Executor`] if the executor failed.
    pub fn complete(&self, requests: Vec<CompleteRequest>) -> Result<Vec<Vec<Completion>>> {
        self.complete_until(requests, &|| false)
    }

    /// [`Engine::complete`] that ends with [`Error::Cancelled`] soon after `stop` returns `true`.
    pub fn complete_until(
        &self,
        requests: Vec<CompleteRequest>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Vec<Completion>>> {
        let (sender, events) = channel();
        let samples =
            |r: &CompleteRequest| (0..r.n).map(|_| PartialCompletion::default()).collect();
        let mut partial: Vec<Vec<PartialCompletion>> = requests.iter().map(samples).collect();
        let mut missing: usize = requests.iter().map(|r| r.n).sum();
        let requests: Vec<GenerateRequest> = requests
            .into_iter()
            .enumerate()
            .map(|(i, r)| {
                let sender = sender.clone();
                GenerateRequest {
                    prompt: r.prompt,
                    adapters: r.adapters,
                    sampling: r.sampling,
                    n: r.n,
                    priority: r.priority,
                    // After `complete` has returned with an error sending fails, which cancels the request.
                    sink: Box::new(move |event| sender.send((i, event)).is_ok()),
                }
            })
            .collect();
        drop(sender);
        for request in &requests {
            self.check_generate(request)?;
        }
        for request in requests {
            if request.priority == Priority::Interactive {
                self.shared.join_queue(usize::MAX)?;
            }
            self.send(Command::Generate(request))?;
        }
        let mut asked = Instant::now();
        while missing > 0 {
            let (i, event) = receive(&events, stop, &mut asked)?;
            missing -= usize::from(collect_event(&mut partial[i], event)?);
        }
        let finish = |samples: Vec<PartialCompletion>| {
            samples.into_iter().map(PartialCompletion::finish).collect()
        };
        partial.into_iter().map(finish).collect()
    }

    /// Log-likelihoods of the answers, `[request][answer token]`; waits for them.
    ///
    /// # Errors
    /// [`Error::Input`], [`Error::TooLong`] or [`Error::Adapter`] if a request is wrong, [`Error::Executor`] if the
    /// executor failed, [`Error::Stopped`] if the engine has ended.
    pub fn score(
        &self,
        requests: Vec<ScoreRequest>,
        priority: Priority,
    ) -> Result<Vec<Vec<Score>>> {
        self.score_until(requests, priority, &|| false)
    }

    /// [`Engine::score`] that ends with [`Error::Cancelled`] soon after `stop` returns `true`.
    pub fn score_until(
        &self,
        requests: Vec<ScoreRequest>,
        priority: Priority,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Vec<Score>>> {
        for request in &requests {
            self.check_prompt(&request.prompt, request.answer.len())?;
            self.check_tokens(&request.answer)?;
            self.check_adapters(&request.adapters)?;
        }
        let (reply, result) = sync_channel(1);
        let share = self.options.cache_tokens > 0;
        // Dropped at the end of this call; the engine then drops the work.
        let caller = Arc::new(());
        let scoring = Scoring::new(requests, priority, share, Arc::downgrade(&caller), reply);
        self.send(Command::Score(scoring))?;
        receive(&result, stop, &mut Instant::now())?
    }

    /// Trains all candidates together, in packed batches, and waits: a result for each request.
    ///
    /// # Errors
    /// As [`Engine::score`]; [`Error::Diverged`] if a candidate diverged, [`Error::Cancelled`] if `progress` returned
    /// `false`.
    pub fn train(
        &self,
        requests: Vec<TrainRequest>,
        priority: Priority,
        progress: Progress,
    ) -> Result<Vec<Trained>> {
        self.train_until(requests, priority, (progress, Box::new(|| false)), &|| {
            false
        })
    }

    /// [`Engine::train`] that can end inside a step. Once `enough` says so, the result is what the finished steps made
    /// (fewer losses than planned tell of them, maybe none). Soon after `stop` returns `true` the call ends with
    /// [`Error::Cancelled`]. Either way the step under way is thrown away.
    pub fn train_until(
        &self,
        requests: Vec<TrainRequest>,
        priority: Priority,
        (progress, enough): (Progress, Enough),
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Trained>> {
        let candidates = self.candidate_thread.install(|| {
            let candidates = requests.into_iter().map(|r| {
                let init = r.init.as_deref();
                Candidate::new(r.config, r.examples, init, &self.files.config, self.window)
            });
            candidates.collect::<Result<Vec<_>>>()
        })?;
        let (reply, result) = sync_channel(1);
        // Dropped at the end of this call; the engine then drops the work.
        let caller = Arc::new(());
        let hooks = (progress, enough);
        let training = Training::new(candidates, priority, hooks, Arc::downgrade(&caller), reply);
        self.send(Command::Train(training))?;
        receive(&result, stop, &mut Instant::now())?
    }

    fn send(&self, command: Command) -> Result<()> {
        self.commands.send(command).map_err(|_| Error::Stopped)
    }

    fn check_generate(&self, request: &GenerateRequest) -> Result<()> {
        request.sampling.validate()?;
        let places = self.options.places(request.priority);
        if request.n == 0 || request.n > places {
            return Err(Error::Input(format!("n must be between 1 and {places}")));
        }
        self.check_prompt(&request.prompt, 1)?;
        let (asked, budget) = (
            request.kv_tokens(self.window, self.page),
            self.options.kv_budget_tokens,
        );
        if asked > budget {
            return Err(Error::Input(format!(
                "the request may come to hold {asked} tokens (its prompt, and max_tokens n times), and \
                 there is memory for {budget}: ask for fewer max_tokens or a smaller n"
            )));
        }
        self.check_adapters(&request.adapters)
    }

    fn check_prompt(&self, prompt: &[u32], more: usize) -> Result<()> {
        if prompt.is_empty() {
            return Err(Error::Input("the prompt has no token".into()));
        }
        if prompt.len() + more > self.window {
            return Err(Error::TooLong {
                asked: prompt.len() + more,
                window: self.window,
            });
        }
        self.check_tokens(prompt)
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        let vocab_size = self.files.config.vocab_size;
        match tokens.iter().find(|t| **t as usize >= vocab_size) {
            Some(t) => Err(Error::Input(format!(
                "token {t} is outside the vocabulary of {vocab_size}"
            ))),
            None => Ok(()),
        }
    }

    fn check_adapters(&self, adapters: &[Arc<Lora>]) -> Result<()> {
        let config = &self.files.config;
        adapters.iter().try_for_each(|lora| lora.validate(config))
    }
}

/// How often a waiting call asks its caller whether to stop.
const STOP_POLL: Duration = Duration::from_millis(50);

/// Waits for the next message, or until `stop` returns `true`; `asked` is the time of the last call of `stop`.
fn receive<T>(messages: &Receiver<T>, stop: &dyn Fn() -> bool, asked: &mut Instant) -> Result<T> {
    loop {
        if asked.elapsed() >= STOP_POLL {
            if stop() {
                return Err(Error::Cancelled);
            }
            *asked = Instant::now();
        }
        match messages.recv_timeout(STOP_POLL) {
            Ok(message) => return Ok(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Stopped),
        }
    }
}

/// A completion whose events are still coming in.
#[derive(Default)]
struct PartialCompletion {
    text: String,
    tokens: Vec<u32>,
    logprobs: Vec<crate::sampler::TokenLogprob>,
    end: Option<(FinishReason, usize)>,
}

impl PartialCompletion {
    fn finish(self) -> Result<Completion> {
        let (reason, prompt_tokens) = self.end.ok_or(Error::Stopped)?;
        Ok(Completion {
            text: self.text,
            tokens: self.tokens,
            logprobs: self.logprobs,
            reason,
            prompt_tokens,
        })
    }
}

/// Adds the event to its sample; `true` if the event ended the sample.
fn collect_event(samples: &mut [PartialCompletion], event: GenerateEvent) -> Result<bool> {
    match event {
        GenerateEvent::Token {
            index,
            text,
            token,
            logprob,
        } => {
            let sample = &mut samples[index];
            sample.text.push_str(&text);
            sample.tokens.push(token);
            sample.logprobs.extend(logprob);
            Ok(false)
        }
        GenerateEvent::Finished {
            index,
            reason,
            prompt_tokens,
            ..
        } => {
            samples[index].end = Some((reason, prompt_tokens));
            Ok(true)
        }
        GenerateEvent::Failed { error } => Err(Error::Executor(error)),
    }
}
