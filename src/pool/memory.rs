//! A model that remembers its most likely answers. Around an update the same questions are asked of the same adapter
//! again and again: general questions of the base, probes of earlier documents of adapters that do not change. A
//! greedy answer depends on nothing but the prompt and the weights, so it is computed once.
//!
//! An answer is kept under the SHA-256 of all that it depends on, an adapter's numbers among it; a name of an adapter
//! is never a part of the key. The memory lives as long as the process.

use crate::learn::ports::model::{
    Adapter, Limits, Model, ModelError, OnStep, Prompt, Sampling, SoftTargets, Trained, Training,
};
use crate::learn::ports::watch::Watch;
use autodidact_engine::Lora;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Most answers and likelihoods kept, together. One takes about 200 bytes.
const MOST: usize = 50_000;

type Digest = [u8; 32];

/// A model with a memory. Clones of the `Arc` around it share the memory.
pub struct Remembering<M> {
    model: M,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    kept: HashMap<Digest, Kept>,
    /// The keys, the oldest first.
    order: VecDeque<Digest>,
    /// The digests of adapters in memory.
    adapters: Vec<(Weak<Lora>, Digest)>,
}

#[derive(Clone)]
enum Kept {
    Answer(String),
    Likelihood(f32),
}

impl<M: Model> Remembering<M> {
    pub fn new(model: M) -> Self {
        Remembering {
            model,
            memory: Mutex::default(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The digest of what answers: all zeros for the base; `None` for an adapter that is more than LoRA pairs, whose
    /// answers are not kept.
    fn responder(&self, adapter: Option<&Adapter>) -> Option<Digest> {
        let Some(Adapter(lora)) = adapter else {
            return Some(Digest::default());
        };
        if lora.extras.is_some() {
            return None;
        }
        let known = |memory: &Memory| {
            let mut all = memory.adapters.iter();
            all.find(|(held, _)| held.as_ptr() == Arc::as_ptr(lora))
                .map(|(_, digest)| *digest)
        };
        if let Some(digest) = known(&self.memory()) {
            return Some(digest);
        }
        let digest = digest(lora);
        let mut memory = self.memory();
        // A dead entry keeps its address from being given to another adapter.
        memory.adapters.retain(|(held, _)| held.strong_count() > 0);
        memory.adapters.push((Arc::downgrade(lora), digest));
        Some(digest)
    }

    /// What is kept under each key; what is not is asked of `ask`, by its places, and kept.
    fn recall<T: Clone>(
        &self,
        keys: &[Digest],
        read: impl Fn(&Kept) -> Option<T>,
        keep: impl Fn(T) -> Kept,
        ask: impl FnOnce(&[usize]) -> Result<Vec<T>, ModelError>,
    ) -> Result<Vec<T>, ModelError> {
        let mut found: Vec<Option<T>> = {
            let memory = self.memory();
            let kept = keys.iter().map(|key| memory.kept.get(key).and_then(&read));
            kept.collect()
        };
        let missing: Vec<usize> = (0..keys.len()).filter(|i| found[*i].is_none()).collect();
        if !missing.is_empty() {
            let asked = ask(&missing)?;
            let mut memory = self.memory();
            for (place, value) in missing.into_iter().zip(asked) {
                memory.keep(keys[place], keep(value.clone()));
                found[place] = Some(value);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }
}

impl Memory {
    fn keep(&mut self, key: Digest, value: Kept) {
        if self.kept.insert(key, value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
    }
}

fn key(of: &impl Serialize) -> Digest {
    let bytes = serde_json::to_vec(of).expect("prompts and settings are plain data");
    Sha256::digest(bytes).into()
}

/// The digest of the adapter's shape and numbers.
fn digest(lora: &Lora) -> Digest {
    let mut hash = Sha256::new();
    hash.update(key(&lora.config));
    let mut bytes = Vec::new();
    for (place, pair) in lora.layers.iter().flatten().enumerate() {
        let Some(pair) = pair else { continue };
        hash.update((place as u64).to_le_bytes());
        for matrix in [&pair.a, &pair.b] {
            bytes.clear();
            bytes.extend(matrix.iter().flat_map(|x| x.to_le_bytes()));
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(&bytes);
        }
    }
    hash.finalize().into()
}

impl<M: Model> Model for Remembering<M> {
    fn generate(
        &self,
        prompts: &[Prompt],
        adapter: Option<&Adapter>,
        sampling: &Sampling,
        watch: &dyn Watch,
    ) -> Result<Vec<Vec<String>>, ModelError> {
        let all = || self.model.generate(prompts, adapter, sampling, watch);
        if sampling.temperature > 0.0 || sampling.n != 1 {
            return all();
        }
        let Some(responder) = self.responder(adapter) else {
            return all();
        };
        let Sampling {
            max_tokens,
            stop,
            whole_lines,
            ..
        } = sampling;
        let settings = (max_tokens, stop, whole_lines);
        let keys = prompts
            .iter()
            .map(|prompt| key(&("answer", responder, prompt, settings)));
        let read = |kept: &Kept| match kept {
            Kept::Answer(answer) => Some(answer.clone()),
            Kept::Likelihood(_) => None,
        };
        let ask = |places: &[usize]| {
            let asked: Vec<Prompt> = places.iter().map(|i| prompts[*i].clone()).collect();
            let answers = self.model.generate(&asked, adapter, sampling, watch)?;
            Ok(answers.into_iter().flatten().collect())
        };
        let answers = self.recall(&keys.collect::<Vec<_>>(), read, Kept::Answer, ask)?;
        Ok(answers.into_iter().map(|answer| vec![answer]).collect())
    }

    fn likelihood(
        &self,
        items: &[(Prompt, String)],
        adapter: Option<&Adapter>,
        watch: &dyn Watch,
    ) -> Result<Vec<f32>, ModelError> {
        let Some(responder) = self.responder(adapter) else {
            return self.model.likelihood(items, adapter, watch);
        };
        let keys = items
            .iter()
            .map(|item| key(&("likelihood", responder, item)));
        let read = |kept: &Kept| match kept {
            Kept::Likelihood(logprob) => Some(*logprob),
            Kept::Answer(_) => None,
        };
        let ask = |places: &[usize]| {
            let asked: Vec<_> = places.iter().map(|i| items[*i].clone()).collect();
            self.model.likelihood(&asked, adapter, watch)
        };
        self.recall(&keys.collect::<Vec<_>>(), read, Kept::Likelihood, ask)
    }

    fn tokens(&self, text: &str) -> usize {
        self.model.tokens(text)
    }

    fn window(&self) -> usize {
        self.model.window()
    }

    fn train_within(
        &self,
        trainings: Vec<Training>,
        on_step: &mut OnStep<'_>,
        limits: &Limits<'_>,
    ) -> Result<Vec<Trained>, ModelError> {
        self.model.train_within(trainings, on_step, limits)
    }

    fn train_on_soft_targets(
        &self,
        training: Training,
        toward: &SoftTargets,
        on_step: &mut OnStep<'_>,
        watch: &dyn Watch,
    ) -> Result<Trained, ModelError> {
        self.model
            .train_on_soft_targets(training, toward, on_step, watch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::scripted::{ScriptedModel, number_of, numbered_adapter};

    fn ask(model: &impl Model, questions: &[&str], adapter: Option<&Adapter>) -> Vec<String> {
        let prompts: Vec<Prompt> = questions.iter().map(|q| Prompt::user(*q)).collect();
        let answers = model.generate(&prompts, adapter, &Sampling::greedy(8), &|| false);
        answers.unwrap().into_iter().flatten().collect()
    }

    fn remembering() -> Remembering<ScriptedModel> {
        let model = ScriptedModel::default().answering(|prompt, adapter| {
            let number = adapter.map_or(0, number_of);
            format!("{} {number}", prompt.user)
        });
        Remembering::new(model)
    }

    #[test]
    fn each_question_is_asked_once_of_each_adapter() {
        let model = remembering();
        assert_eq!(ask(&model, &["a?", "b?"], None), ["a? 0", "b? 0"]);
        assert_eq!(
            ask(&model, &["b?", "c?", "a?"], None),
            ["b? 0", "c? 0", "a? 0"]
        );
        let one = numbered_adapter(1);
        assert_eq!(ask(&model, &["a?"], Some(&one)), ["a? 1"]);
        // The same numbers in another allocation are the same adapter.
        assert_eq!(ask(&model, &["a?"], Some(&numbered_adapter(1))), ["a? 1"]);
        assert_eq!(ask(&model, &["a?"], Some(&numbered_adapter(2))), ["a? 2"]);
        let asked: Vec<String> = model.model.prompts().into_iter().map(|p| p.user).collect();
        assert_eq!(asked, ["a?", "b?", "c?", "a?", "a?"]);
    }

    #[test]
    fn answers_of_other_lengths_and_likelihoods_are_apart() {
        let model = remembering();
        ask(&model, &["a?"], None);
        let prompt = [Prompt::user("a?")];
        let longer = Sampling::greedy(9);
        model.generate(&prompt, None, &longer, &|| false).unwrap();
        let item = [(Prompt::user("a?"), "gold".to_owned())];
        assert_eq!(model.likelihood(&item, None, &|| false).unwrap(), [-1.0]);
        assert_eq!(model.likelihood(&item, None, &|| false).unwrap(), [-1.0]);
        assert_eq!(model.model.calls(), ["generate", "generate", "likelihood"]);
    }

    #[test]
    fn samples_are_drawn_each_time() {
        let model = remembering();
        let warm = Sampling {
            temperature: 0.7,
            ..Sampling::greedy(8)
        };
        for _ in 0..2 {
            let prompt = [Prompt::user("a?")];
            model.generate(&prompt, None, &warm, &|| false).unwrap();
        }
        assert_eq!(model.model.calls().len(), 2);
    }

    #[test]
    fn the_oldest_answers_are_forgotten_first() {
        let mut memory = Memory::default();
        for number in 0..MOST + 3 {
            memory.keep(key(&number), Kept::Likelihood(0.0));
        }
        assert_eq!(memory.kept.len(), MOST);
        assert!(!memory.kept.contains_key(&key(&2)) && memory.kept.contains_key(&key(&3)));
    }
}
