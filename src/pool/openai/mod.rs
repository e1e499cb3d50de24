//! A text model behind an OpenAI-compatible URL (`POST {url}/chat/completions`).
//!
//! Each completion is a request of its own, because not every server understands `n` or a trailing assistant message.
//! Several requests run at once, on threads of their own. A stopped job need not wait for a slow server: the running
//! requests end by themselves, and their answers are discarded.

mod request;

use super::prefill;
use crate::config::{KEY_ENV, UrlModel};
use crate::learn::ports::model::{ModelError, Prompt, Sampling};
use crate::learn::ports::text_model::TextModel;
use crate::learn::ports::watch::Watch;
use request::{Caller, Said};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// The interval at which waiting checks for a stop.
const TICK: Duration = Duration::from_millis(25);

/// A model on an OpenAI-compatible server.
pub struct OpenAiModel {
    name: String,
    caller: Arc<Caller>,
    /// Requests that run at once.
    parallel: usize,
}

impl OpenAiModel {
    /// `env` reads an environment variable. Fails if the settings name a variable for the key and the variable is not
    /// set.
    pub fn new(settings: UrlModel, env: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let env = |name: &str| env(name).filter(|key| !key.trim().is_empty());
        let key = match &settings.key_env {
            None => env(KEY_ENV),
            Some(name) => Some(env(name).ok_or_else(|| {
                format!("key_env: the environment variable {name} is not set; put the key into it")
            })?),
        };
        Ok(OpenAiModel {
            name: settings.model.clone(),
            parallel: settings.parallel,
            caller: Arc::new(Caller::new(settings, key)),
        })
    }

    fn failed(&self, reason: String) -> ModelError {
        let model = format!("{} at {}", self.name, self.caller.address());
        ModelError::Text { model, reason }
    }
}

/// A request's body, and the prefill to remove from its answer.
struct Ask {
    body: Value,
    prefill: String,
}

impl TextModel for OpenAiModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn complete(
        &self,
        prompts: &[Prompt],
        sampling: &Sampling,
        watch: &dyn Watch,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        let n = sampling.n;
        let asks = prompts.iter().zip(0u64..).flat_map(|(prompt, i)| {
            (0..n as u64).map(move |k| {
                // Each completion has a seed of its own. Every server accepts a seed of 31 bits.
                let seed = sampling.seed.wrapping_add(i * 1_000_003 + k) & 0x7fff_ffff;
                Ask {
                    body: self.body(prompt, sampling, seed),
                    prefill: prompt.prefill.clone(),
                }
            })
        });
        let all = self.ask_all(asks.collect(), watch)?.into_iter();
        let mut texts = all.map(|said| sampling.completed(said.text, said.cut_off));
        let of_prompt = |_: &Prompt| texts.by_ref().take(n).collect();
        Ok(prompts.iter().map(of_prompt).collect())
    }
}

impl OpenAiModel {
    /// The answers, in the order of `asks`. Fails with the first request that fails.
    fn ask_all(&self, asks: Vec<Ask>, watch: &dyn Watch) -> Result<Vec<Said>, ModelError> {
        let total = asks.len();
        let (asks, next) = (Arc::new(asks), Arc::new(AtomicUsize::new(0)));
        let over = SetOnDrop::default();
        let (sender, results) = channel();
        for _ in 0..self.parallel.min(total) {
            let (caller, asks, next) = (self.caller.clone(), asks.clone(), next.clone());
            let (sender, over) = (sender.clone(), over.0.clone());
            std::thread::spawn(move || {
                let is_over = || over.load(Ordering::Relaxed);
                loop {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    let Some(ask) = asks.get(nth).filter(|_| !is_over()) else {
                        return;
                    };
                    let said = caller.ask(&ask.body, &is_over).map(|said| Said {
                        text: prefill::taken_off(&said.text, &ask.prefill),
                        ..said
                    });
                    if sender.send((nth, said)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut all: Vec<Option<Said>> = (0..total).map(|_| None).collect();
        for _ in 0..total {
            let (nth, said) = loop {
                if watch.stopped() {
                    return Err(ModelError::Stopped);
                }
                match results.recv_timeout(TICK) {
                    Ok(result) => break result,
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(self.failed("a request ended without a result".into()));
                    }
                }
            };
            all[nth] = Some(said.map_err(|reason| self.failed(reason))?);
        }
        Ok(all.into_iter().flatten().collect())
    }

    fn body(&self, prompt: &Prompt, sampling: &Sampling, seed: u64) -> Value {
        let turn = |role: &str, text: &str| json!({"role": role, "content": text});
        let mut messages = Vec::new();
        messages.extend(prompt.system.iter().map(|text| turn("system", text)));
        for (user, assistant) in &prompt.examples {
            messages.push(turn("user", user));
            messages.push(turn("assistant", assistant));
        }
        messages.push(turn("user", &prefill::asking_for(prompt)));
        let mut body = json!({
            "model": self.name,
            "messages": messages,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": seed,
        });
        if !sampling.stop.is_empty() {
            body["stop"] = json!(sampling.stop);
        }
        body
    }
}

/// Sets its flag when dropped, so that the request threads end however the waiting ended.
#[derive(Default)]
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
