//! One generating request: its prompt, its samples, its events.

use super::prefix::PrefixCache;
use super::text::TextStream;
use super::{FinishReason, GenerateEvent, GenerateRequest, Priority, Sink};
use crate::executor::{Executor, KvSlot};
use crate::lora::Lora;
use crate::sampler::{Sampled, Sampler};
use crate::weights::ModelFiles;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

pub(super) struct Generation {
    pub prompt: Vec<u32>,
    pub adapters: Vec<Arc<Lora>>,
    pub priority: Priority,
    pub created: Instant,
    pub samples: Vec<Sample>,
    /// The slot of the prompt while the prompt is being computed.
    pub prefill: Option<KvSlot>,
    sink: Sink,
    max_tokens: usize,
    ignore_eos: bool,
    cancelled: bool,
}

pub(super) struct Sample {
    pub slot: Option<KvSlot>,
    pub sampler: Sampler,
    /// The next token to compute.
    pub last: u32,
    /// Within a turn: this sample's row of the logits.
    pub row: Option<usize>,
    /// Within a turn: the token drawn from that row.
    pub drawn: Option<Sampled>,
    text: TextStream,
    /// The generated tokens.
    tokens: Vec<u32>,
    finished: bool,
}

impl GenerateRequest {
    /// Most tokens that each sample generates.
    fn max_tokens(&self, window: usize) -> usize {
        self.sampling.max_tokens.min(window - self.prompt.len())
    }

    /// Most tokens that the request's slots may come to hold, if a fork copies at most `page` tokens. The prompt must
    /// fit the window.
    pub(super) fn kv_tokens(&self, window: usize, page: usize) -> usize {
        kv_tokens(self.n, self.prompt.len(), self.max_tokens(window), page)
    }
}

/// The prompt is held once; every sample but one copies its last page.
fn kv_tokens(samples: usize, prompt: usize, max_tokens: usize, page: usize) -> usize {
    match samples {
        0 => 0,
        n => prompt + n * max_tokens + (n - 1) * prompt.min(page),
    }
}

impl Generation {
    pub fn new(request: GenerateRequest, window: usize) -> Self {
        let max_tokens = request.max_tokens(window);
        let GenerateRequest {
            prompt, sampling, ..
        } = &request;
        let samples = (0..request.n)
            .map(|index| Sample {
                slot: None,
                sampler: Sampler::new(sampling, index, prompt),
                last: 0,
                row: None,
                drawn: None,
                text: TextStream::new(&sampling.stop),
                tokens: Vec::new(),
                finished: false,
            })
            .collect();
        Generation {
            samples,
            max_tokens,
            ignore_eos: sampling.ignore_eos,
            prompt: request.prompt,
            adapters: request.adapters,
            priority: request.priority,
            created: Instant::now(),
            prefill: None,
            sink: request.sink,
            cancelled: false,
        }
    }

    /// Samples that have not finished; each takes a place.
    pub fn places(&self) -> usize {
        self.samples.iter().filter(|s| !s.finished).count()
    }

    /// Most tokens that the slots of its unfinished samples may come to hold.
    pub fn kv_tokens(&self, page: usize) -> usize {
        kv_tokens(self.places(), self.prompt.len(), self.max_tokens, page)
    }

    pub fn done(&self) -> bool {
        self.places() == 0
    }

    pub fn slots(&self) -> impl Iterator<Item = KvSlot> {
        let samples = self.samples.iter().filter_map(|s| s.slot);
        self.prefill.into_iter().chain(samples)
    }

    /// Whether both run under the same adapters, in the same order.
    pub fn same_stack(&self, other: &Generation) -> bool {
        let both = self.adapters.iter().zip(&other.adapters);
        self.adapters.len() == other.adapters.len()
            && both.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Forks the slot of the computed prompt for every sample. Does nothing if no prompt is being computed.
    pub fn fork_samples(&mut self, executor: &mut dyn Executor) {
        let Some(slot) = self.prefill.take() else {
            return;
        };
        let (first, others) = self.samples.split_first_mut().expect("n is at least 1");
        first.slot = Some(slot);
        for sample in others {
            sample.slot = Some(executor.kv_fork(slot, self.prompt.len()));
        }
    }

    /// Adds the token that sample `index` drew, and sends it to the sink. A sample that ends gives its slot to the
    /// cache.
    pub fn advance(
        &mut self,
        index: usize,
        sampled: Sampled,
        files: &ModelFiles,
        executor: &mut dyn Executor,
        cache: &mut PrefixCache,
    ) {
        if self.cancelled {
            return;
        }
        let sample = &mut self.samples[index];
        let token = sampled.token;
        sample.last = token;
        sample.tokens.push(token);
        let ended = files.eos.contains(&token) && !self.ignore_eos;
        let (mut text, stopped) = match ended || files.tokenizer.is_control(token) {
            true => (String::new(), false),
            false => sample
                .text
                .push(files.tokenizer.token_bytes(token).as_ref()),
        };
        let reason = if ended || stopped {
            Some(FinishReason::Stop)
        } else if sample.tokens.len() >= self.max_tokens {
            Some(FinishReason::Length)
        } else {
            None
        };
        if reason.is_some() && !stopped {
            text.push_str(&sample.text.finish());
        }
        let listening = self.emit(GenerateEvent::Token {
            index,
            text,
            token,
            logprob: sampled.logprob,
        });
        match reason {
            _ if !listening => self.cancel(executor, cache),
            Some(reason) => self.finish(index, reason, executor, cache),
            None => {}
        }
    }

    /// Ends all samples, because nobody listens.
    fn cancel(&mut self, executor: &mut dyn Executor, cache: &mut PrefixCache) {
        self.cancelled = true;
        for index in 0..self.samples.len() {
            self.finish(index, FinishReason::Cancelled, executor, cache);
        }
        self.free(executor);
    }

    pub fn fail(&mut self, error: &str, executor: &mut dyn Executor) {
        self.free(executor);
        for sample in &mut self.samples {
            sample.finished = true;
        }
        let error = error.to_string();
        self.emit(GenerateEvent::Failed { error });
    }

    fn finish(
        &mut self,
        index: usize,
        reason: FinishReason,
        executor: &mut dyn Executor,
        cache: &mut PrefixCache,
    ) {
        let sample = &mut self.samples[index];
        if std::mem::replace(&mut sample.finished, true) {
            return;
        }
        if let Some(slot) = sample.slot.take() {
            let mut tokens = [self.prompt.as_slice(), &sample.tokens].concat();
            tokens.truncate(executor.kv_len(slot)); // the last drawn token was never computed
            match self.cancelled {
                true => free(executor, slot),
                false => cache.insert(&self.adapters, tokens, self.prompt.len(), slot, executor),
            }
        }
        let event = GenerateEvent::Finished {
            index,
            reason,
            prompt_tokens: self.prompt.len(),
            completion_tokens: sample.tokens.len(),
        };
        if !self.emit(event) && !self.cancelled {
            self.cancel(executor, cache);
        }
    }

    fn free(&mut self, executor: &mut dyn Executor) {
        let of_samples = self.samples.iter_mut().filter_map(|s| s.slot.take());
        for slot in self.prefill.take().into_iter().chain(of_samples) {
            free(executor, slot);
        }
    }

    /// Sends an event; `false` if nobody listens. A sink that panics listens no more, and does not end the engine.
    fn emit(&mut self, event: GenerateEvent) -> bool {
        catch_unwind(AssertUnwindSafe(|| (self.sink)(event))).unwrap_or(false)
    }
}

/// Frees a slot. An executor that failed once may panic here, too; the engine goes on.
pub(super) fn free(executor: &mut dyn Executor, slot: KvSlot) {
    if catch_unwind(AssertUnwindSafe(|| executor.kv_free(slot))).is_err() {
        tracing::error!(
            slot = slot.0,
            "the executor panicked while freeing a KV slot"
        );
    }
}
