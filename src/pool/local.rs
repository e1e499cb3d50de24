//! Learning's [`Model`] over the engine of this process. Texts become tokens in the model's own chat format. Batches go
//! to the scheduler, which serves people's requests first.

use crate::learn::ports::model::{
    Adapter, Learn, Limits, Model, ModelError, OnStep, Prompt, Sampling, SoftTargets, Trained,
    Training, TrainingText, Turn,
};
use crate::learn::ports::watch::{Tokens, Watch};
use autodidact_engine::chat::Message;
use autodidact_engine::sampler::SamplingParams;
use autodidact_engine::scheduler::{
    CompleteRequest, Completion, Engine, Enough, FinishReason, Priority, Progress, ScoreRequest,
    TrainRequest, Trained as EngineTrained,
};
use autodidact_engine::trainer::{Example, Schedule, TrainConfig};
use autodidact_engine::{Error, Grammar, Grammars, Lora, LoraConfig, ModelConfig};
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// A model of this process, as learning sees it. Clones share the engine.
#[derive(Clone)]
pub struct LocalModel {
    pub(super) engine: Engine,
    pub(super) priority: Priority,
    /// Built at the first prompt with a schema.
    grammars: Arc<OnceLock<Grammars>>,
}

impl LocalModel {
    /// All requests to the engine have this priority.
    pub fn new(engine: Engine, priority: Priority) -> Self {
        LocalModel {
            engine,
            priority,
            grammars: Arc::default(),
        }
    }

    /// The base model's configuration, which the shapes of adapters follow from.
    pub fn shape(&self) -> &ModelConfig {
        &self.engine.files().config
    }

    /// The prompt as tokens, up to the place where the answer continues. Fails if the chat template cannot render it.
    pub fn prompt_tokens(&self, prompt: &Prompt) -> Result<Vec<u32>, Error> {
        let files = self.engine.files();
        let mut messages = Vec::new();
        if let Some(system) = &prompt.system {
            messages.push(Message::new("system", system));
        }
        for (user, assistant) in &prompt.examples {
            messages.push(Message::new("user", user));
            messages.push(Message::new("assistant", assistant));
        }
        messages.push(Message::new("user", &prompt.user));
        let mut tokens = match &files.chat_template {
            Some(template) => {
                template.render_tokens(&files.tokenizer, &messages, true, &Default::default())?
            }
            // A model without a chat template reads the plain text; the answer starts on a line of its own.
            None => {
                let text = messages.iter().map(|m| format!("{}\n", m.content));
                files.tokenizer.encode(&text.collect::<String>())?
            }
        };
        tokens.extend(files.tokenizer.encode(&prompt.prefill)?);
        Ok(tokens)
    }

    fn example(&self, text: &TrainingText) -> Result<Example, Error> {
        match text {
            TrainingText::Text { text } => {
                let files = self.engine.files();
                let mut tokens: Vec<u32> = files.bos.into_iter().collect();
                tokens.extend(files.tokenizer.encode(text)?);
                // The end token is supervised, so that the model learns where the text stops.
                tokens.extend(files.eos.first());
                Ok(Example::all(tokens))
            }
            TrainingText::Chat { user, assistant } => self.turn(&Prompt::user(user), assistant),
            TrainingText::Completion { prompt, completion } => self.turn(prompt, completion),
            TrainingText::Conversation {
                system,
                turns,
                learn,
            } => self.conversation(system.as_deref(), turns, *learn),
        }
    }

    /// A training example of one turn. The loss covers the answer and its end token, not the prompt.
    fn turn(&self, prompt: &Prompt, answer: &str) -> Result<Example, Error> {
        let files = self.engine.files();
        let mut tokens = files.tokenizer.encode(answer)?;
        tokens.extend(files.eos.first());
        Ok(Example::completion(&self.prompt_tokens(prompt)?, &tokens))
    }

    /// A training example of a conversation. Each turn is rendered as a request would render it: the conversation so
    /// far, then the answer.
    fn conversation(
        &self,
        system: Option<&str>,
        turns: &[Turn],
        learn: Learn,
    ) -> Result<Example, Error> {
        let files = self.engine.files();
        let end = files.eos.first().copied();
        let (mut tokens, mut supervised): (Vec<u32>, Vec<bool>) = Default::default();
        let mut prompt = Prompt {
            system: system.map(str::to_owned),
            ..Prompt::default()
        };
        for turn in turns {
            prompt.user.clone_from(&turn.user);
            let asked = self.prompt_tokens(&prompt)?;
            // A template may render an earlier answer differently from its training form. Tokens from the first
            // difference on lose their supervision.
            let same = asked.iter().zip(&tokens).take_while(|(a, b)| a == b);
            supervised.truncate(same.count());
            supervised.resize(asked.len(), learn == Learn::Everything);
            tokens = asked;
            tokens.extend(files.tokenizer.encode(&turn.assistant)?);
            tokens.extend(end);
            supervised.resize(tokens.len(), true);
            let said = (turn.user.clone(), turn.assistant.clone());
            prompt.examples.push(said);
        }
        if let Some(first) = supervised.first_mut() {
            *first = false;
        }
        Ok(Example {
            tokens,
            supervised,
            soft: Vec::new(),
        })
    }

    fn grammar(&self, schema: &Value) -> Result<Grammar, Error> {
        let grammars = match self.grammars.get() {
            Some(grammars) => grammars,
            None => {
                let files = self.engine.files();
                let made = Grammars::new(&files.tokenizer, &files.eos)?;
                self.grammars.get_or_init(|| made)
            }
        };
        grammars.json_schema(schema)
    }

    /// Long texts take their time to become tokens. Those that are not ready at the deadline are left out, because no
    /// step would come to them; one at least is there.
    fn train_request(
        &self,
        training: &Training,
        limits: &Limits<'_>,
    ) -> Result<TrainRequest, ModelError> {
        let late = || limits.deadline.is_some_and(|end| Instant::now() >= end);
        let mut examples = Vec::with_capacity(training.texts.len());
        for text in &training.texts {
            if limits.watch.stopped() {
                return Err(ModelError::Stopped);
            }
            if !examples.is_empty() && late() {
                break;
            }
            examples.push(self.example(text)?);
        }
        let update = &training.update;
        Ok(TrainRequest {
            config: TrainConfig {
                lora: LoraConfig::all_linear(update.rank, update.alpha),
                first_layer: update.upper_layers.map_or(0, |n| {
                    self.engine.files().config.num_layers.saturating_sub(n)
                }),
                learning_rate: update.learning_rate,
                epochs: update.epochs,
                batch_size: update.batch_size,
                schedule: Schedule::Linear,
                seed: update.seed,
                kept_ranks: update.kept_ranks,
                early_stop: update.early_stop,
                lora_plus_ratio: update.lora_plus,
                shortlist: true,
                ..Default::default()
            },
            examples: examples.into(),
            init: training.init.as_ref().map(|a| a.0.clone()),
        })
    }
}

pub(super) fn stack(adapter: Option<&Adapter>) -> Vec<Arc<Lora>> {
    adapter.map(|a| a.0.clone()).into_iter().collect()
}

impl Model for LocalModel {
    fn window(&self) -> usize {
        self.engine.window()
    }

    fn tokens(&self, text: &str) -> usize {
        // A text that cannot be encoded cannot be trained on either; its bytes bound its tokens.
        let tokens = self.engine.files().tokenizer.encode(text);
        tokens.map_or(text.len(), |tokens| tokens.len())
    }

    fn generate(
        &self,
        prompts: &[Prompt],
        adapter: Option<&Adapter>,
        sampling: &Sampling,
        watch: &dyn Watch,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        let requests = prompts.iter().zip(0u64..).map(|(prompt, i)| {
            Ok(CompleteRequest {
                prompt: self.prompt_tokens(prompt)?,
                adapters: stack(adapter),
                sampling: SamplingParams {
                    temperature: sampling.temperature,
                    top_p: sampling.top_p,
                    max_tokens: sampling.max_tokens,
                    stop: sampling.stop.clone(),
                    // Each prompt of a call samples from a random stream of its own.
                    seed: sampling.seed.wrapping_add(i * 1_000_003),
                    grammar: prompt
                        .schema
                        .as_ref()
                        .map(|s| self.grammar(s))
                        .transpose()?,
                    ..Default::default()
                },
                n: sampling.n,
                priority: self.priority,
            })
        });
        let requests = requests.collect::<Result<Vec<_>, Error>>()?;
        let completions = self.engine.complete_until(requests, &|| watch.stopped());
        let completions = completions.map_err(stopped)?;
        let of = |c: &Completion| Tokens {
            prompt: c.prompt_tokens,
            generated: c.tokens.len(),
            ..Default::default()
        };
        watch.spent(completions.iter().flatten().map(of).sum());
        let texts = |n: Vec<Completion>| {
            let completed = |c: Completion| {
                let cut_off = c.reason == FinishReason::Length;
                sampling.completed(c.text, cut_off)
            };
            n.into_iter().map(completed).collect()
        };
        Ok(completions.into_iter().map(texts).collect())
    }

    fn likelihood(
        &self,
        items: &[(Prompt, String)],
        adapter: Option<&Adapter>,
        watch: &dyn Watch,
    ) -> Result<Vec<f32>, ModelError> {
        let requests = items.iter().map(|(prompt, answer)| {
            Ok(ScoreRequest {
                prompt: self.prompt_tokens(prompt)?,
                answer: self.engine.files().tokenizer.encode(answer)?,
                adapters: stack(adapter),
            })
        });
        let requests = requests.collect::<Result<Vec<_>, Error>>()?;
        let scored = requests.iter().map(|r| r.prompt.len() + r.answer.len());
        let scored = scored.sum();
        let scores = self
            .engine
            .score_until(requests, self.priority, &|| watch.stopped());
        let scores = scores.map_err(stopped)?;
        watch.spent(Tokens {
            scored,
            ..Default::default()
        });
        Ok(scores
            .iter()
            .map(|s| s.iter().map(|t| t.logprob).sum::<f32>() / s.len().max(1) as f32)
            .collect())
    }

    fn train_within(
        &self,
        trainings: Vec<Training>,
        on_step: &mut OnStep<'_>,
        limits: &Limits<'_>,
    ) -> Result<Vec<Trained>, ModelError> {
        let requests = trainings.iter().map(|t| self.train_request(t, limits));
        let requests = requests.collect::<Result<Vec<_>, ModelError>>()?;
        self.run(requests, on_step, limits)
    }

    fn train_on_soft_targets(
        &self,
        training: Training,
        targets: &SoftTargets,
        on_step: &mut OnStep<'_>,
        watch: &dyn Watch,
    ) -> Result<Trained, ModelError> {
        let deadline = None;
        let limits = Limits { watch, deadline };
        let mut request = self.train_request(&training, &limits)?;
        request.examples = self
            .soft_examples(&request.examples, targets, watch)?
            .into();
        let trained = self.run(vec![request], on_step, &limits)?;
        let trained = trained.into_iter().next();
        Ok(trained.expect("one adapter for one training"))
    }
}

impl LocalModel {
    fn run(
        &self,
        requests: Vec<TrainRequest>,
        on_step: &mut OnStep<'_>,
        limits: &Limits<'_>,
    ) -> Result<Vec<Trained>, ModelError> {
        let Limits { watch, deadline } = *limits;
        let enough = Box::new(move || deadline.is_some_and(|end| Instant::now() >= end));
        let stopped = Arc::new(AtomicBool::new(false));
        let (sender, reports) = mpsc::channel();
        let cancel = stopped.clone();
        // The engine reports progress on its own thread; `on_step` is called on this one.
        let progress = Box::new(move |r: &[autodidact_engine::trainer::StepReport]| {
            let _ = sender.send(r.to_vec());
            !cancel.load(Ordering::Relaxed)
        });
        let result = std::thread::scope(|scope| {
            let training = scope.spawn(|| {
                let hooks: (_, Enough) = (progress as Progress, enough);
                self.engine
                    .train_until(requests, self.priority, hooks, &|| watch.stopped())
            });
            for step in reports {
                let loss = step.iter().map(|s| s.loss).sum::<f32>() / step.len().max(1) as f32;
                let furthest = step.iter().max_by_key(|s| s.total_steps);
                // The engine counts steps from 0, `on_step` from 1.
                if let Some(s) = furthest
                    && !on_step(s.step + 1, s.total_steps, loss)
                {
                    stopped.store(true, Ordering::Relaxed);
                }
            }
            training.join()
        });
        if stopped.load(Ordering::Relaxed) {
            return Err(ModelError::Stopped);
        }
        let trained = result.unwrap_or(Err(Error::Stopped));
        let trained: Vec<EngineTrained> = trained.map_err(self::stopped)?;
        let trained: Vec<Trained> = trained
            .into_iter()
            .map(|t| Trained {
                adapter: Adapter(Arc::new(t.lora)),
                tokens: t.tokens,
                losses: t.losses,
            })
            .collect();
        watch.spent(Tokens {
            trained: trained.iter().map(|t| t.tokens).sum(),
            ..Default::default()
        });
        Ok(trained)
    }
}

/// The engine's error as an error of learning: a cancelled request is a stop.
pub(super) fn stopped(error: Error) -> ModelError {
    match error {
        Error::Cancelled => ModelError::Stopped,
        other => other.into(),
    }
}
