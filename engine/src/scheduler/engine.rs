//! The handle: checks what is asked, on the caller's thread, and passes it to the engine's.

use super::scoring::Scoring;
use super::training::Training;
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
#[derive(Clone)]
pub struct Engine {
    files: Arc<ModelFiles>,
    options: EngineOptions,
    window: usize,
    /// See [`Executor::kv_page`].
    page: usize,
    shared: Arc<Shared>,
    commands: Sender<Command>,
    /// One thread that makes all candidates. An allocator such as glibc's keeps what is freed for the thread that it
    /// came from: made by whoever asks, every training's gradients and moments would be new memory.
    maker: Arc<ThreadPool>,
}

impl Engine {
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
        let maker = ThreadPoolBuilder::new().num_threads(1);
        let maker = maker.thread_name(|_| "maker".into()).build();
        let maker = Arc::new(maker.expect("the system can start a thread"));
        Engine {
            files,
            options,
            window,
            page,
            shared,
            commands,
            maker,
        }
    }

    pub fn files(&self) -> &ModelFiles {
        &self.files
    }

    /// Tokens a prompt and its completion may have together.
    pub fn window(&self) -> usize {
        self.window
    }

    pub fn stats(&self) -> EngineStats {
        self.shared.stats()
    }

    /// Starts generating and returns; everything else comes through the sink.
    pub fn generate(&self, request: GenerateRequest) -> Result<()> {
        self.check_generate(&request)?;
        let interactive = request.priority == Priority::Interactive;
        if interactive {
            self.shared.join_queue(self.options.max_waiting)?;
        }
        self.send(Command::Generate(request))
    }

    /// Generates all samples of all requests, in company, and waits: `[request][sample]`. Not
    /// bounded by `max_waiting`: whoever waits here has bounded himself.
    pub fn complete(&self, requests: Vec<CompleteRequest>) -> Result<Vec<Vec<Completion>>> {
        self.complete_until(requests, &|| false)
    }

    /// [`Engine::complete`] that ends as [`Error::Cancelled`] soon after `stop` says so.
    pub fn complete_until(
        &self,
        requests: Vec<CompleteRequest>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Vec<Vec<Completion>>> {
        let (sender, events) = channel();
        let samples = |r: &CompleteRequest| (0..r.n).map(|_| Gathered::default()).collect();
        let mut gathered: Vec<Vec<Gathered>> = requests.iter().map(samples).collect();
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
                    // When `complete` has returned with an error, sending fails and that cancels.
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
            missing -= usize::from(gather(&mut gathered[i], event)?);
        }
        let whole = |samples: Vec<Gathered>| samples.into_iter().map(Gathered::whole).collect();
        gathered.into_iter().map(whole).collect()
    }

    /// Log-likelihood of every answer token; waits for it.
    pub fn score(
        &self,
        requests: Vec<ScoreRequest>,
        priority: Priority,
    ) -> Result<Vec<Vec<Score>>> {
        self.score_until(requests, priority, &|| false)
    }

    /// [`Engine::score`] that ends as [`Error::Cancelled`] soon after `stop` says so.
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
        // Lives as long as this call: the engine drops the work when it is gone.
        let caller = Arc::new(());
        let scoring = Scoring::new(requests, priority, share, Arc::downgrade(&caller), reply);
        self.send(Command::Score(scoring))?;
        receive(&result, stop, &mut Instant::now())?
    }

    /// Trains all candidates in company; waits for it.
    pub fn train(
        &self,
        requests: Vec<TrainRequest>,
        priority: Priority,
        progress: Progress,
    ) -> Result<Vec<Trained>> {
        let candidates = self.maker.install(|| {
            let candidates = requests.into_iter().map(|r| {
                let init = r.init.as_deref();
                Candidate::new(r.config, r.examples, init, &self.files.config, self.window)
            });
            candidates.collect::<Result<Vec<_>>>()
        })?;
        let (reply, result) = sync_channel(1);
        let training = Training::new(candidates, priority, progress, reply);
        self.send(Command::Train(training))?;
        result.recv().map_err(|_| Error::Stopped)?
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

/// How often whoever waits for the engine is asked whether to stop.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// The next message, unless `stop` says that nobody wants it; `asked` is when it was last heard.
fn receive<T>(messages: &Receiver<T>, stop: &dyn Fn() -> bool, asked: &mut Instant) -> Result<T> {
    loop {
        if asked.elapsed() >= ASK_INTERVAL {
            if stop() {
                return Err(Error::Cancelled);
            }
            *asked = Instant::now();
        }
        match messages.recv_timeout(ASK_INTERVAL) {
            Ok(message) => return Ok(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Stopped),
        }
    }
}

/// A completion as its events come in.
#[derive(Default)]
struct Gathered {
    text: String,
    tokens: Vec<u32>,
    logprobs: Vec<crate::sampler::TokenLogprob>,
    end: Option<(FinishReason, usize)>,
}

impl Gathered {
    fn whole(self) -> Result<Completion> {
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

/// Whether the event ended a sample.
fn gather(samples: &mut [Gathered], event: GenerateEvent) -> Result<bool> {
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
