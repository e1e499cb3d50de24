//! The paper's continued pretraining (SEAL §4.2, right half of the table): one adapter learns all passages at once, and
//! is then asked all questions.

use super::compare::{Arm, EvalPassage, edits};
use crate::learn::fan_out;
use crate::learn::knowledge::closed_book::{Answer, answer_all, closed_book};
use crate::learn::knowledge::sequences::{in_two_wordings, training_texts};
use crate::learn::options::update::IngestOptions;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::{Interrupted, Journal, step};
use crate::learn::ports::model::{Model, Prompt, Training, TrainingText};
use crate::learn::stats::{Estimate, estimate};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

#[derive(Debug, Clone, Serialize)]
pub struct CptRow {
    pub arm: String,
    pub accuracy: Estimate,
    /// Mean log-likelihood of the gold answers, nats a token.
    pub logprob: f32,
    pub seeds: usize,
    /// Mean wall-clock seconds of a seed: writing, training and asking.
    pub seconds: f32,
    pub sequences: f32,
    pub tokens: f32,
}

/// The results of one seed's adapter.
#[derive(Serialize, Deserialize)]
struct Learned {
    answers: Vec<Answer>,
    sequences: usize,
    tokens: usize,
    seconds: f32,
}

/// The training sequences of one passage.
#[derive(Serialize, Deserialize)]
struct WrittenPassage {
    texts: Vec<TrainingText>,
    /// Seconds since the previous passage was finished, or since the start. The sum over all passages is the time of
    /// the writing, also across crashes.
    seconds: f32,
}

/// Self-edits written at once.
const WRITERS: usize = 8;
/// Questions asked at once.
const QUESTIONS: usize = 64;

/// Measures one arm over all seeds, with one adapter per seed.
pub fn run(
    model: &dyn Model,
    cases: &[EvalPassage],
    arm: Arm,
    options: &IngestOptions,
    seeds: &[u64],
    journal: &dyn Journal,
) -> Result<CptRow, Interrupted> {
    let mut learned = Vec::new();
    for &seed in seeds {
        let key = format!("cpt:{}:seed:{seed}", arm.name());
        let one = || learn_all(model, cases, arm, options, seed, journal);
        learned.push(step(journal, &key, one)?);
    }
    let mut clusters = vec![Vec::new(); cases.len()];
    let mut logprobs = Vec::new();
    for one in &learned {
        let mut answers = one.answers.iter();
        for (case, cluster) in cases.iter().zip(&mut clusters) {
            for answer in answers.by_ref().take(case.questions.len()) {
                cluster.push(answer.correct as u8 as f32);
                logprobs.push(answer.logprob);
            }
        }
    }
    let mean =
        |of: fn(&Learned) -> f32| learned.iter().map(of).sum::<f32>() / learned.len().max(1) as f32;
    Ok(CptRow {
        arm: arm.name().to_owned(),
        accuracy: estimate(&clusters),
        logprob: logprobs.iter().sum::<f32>() / logprobs.len().max(1) as f32,
        seeds: seeds.len(),
        seconds: mean(|l| l.seconds),
        sequences: mean(|l| l.sequences as f32),
        tokens: mean(|l| l.tokens as f32),
    })
}

fn learn_all(
    model: &dyn Model,
    cases: &[EvalPassage],
    arm: Arm,
    options: &IngestOptions,
    seed: u64,
    journal: &dyn Journal,
) -> Result<Learned, Interrupted> {
    let stop = || journal.check().is_err();
    journal.progress(arm.name(), 0.0, "writing");
    let last = Mutex::new(Instant::now());
    let written: Vec<WrittenPassage> = fan_out::each(cases.len(), WRITERS, |i| {
        let key = format!("cpt:{}:seed:{seed}:written:{i}", arm.name());
        step(journal, &key, || {
            let model = Interruptible::new(model, &stop);
            // Each passage has a seed of its own, so that the passages' samples are independent.
            let own = seed.wrapping_mul(1_000_003).wrapping_add(i as u64);
            let edits = edits(model, &cases[i], arm, None, options, own)?;
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::replace(&mut *last, Instant::now());
            Ok(WrittenPassage {
                texts: training_texts(&cases[i].passage, &edits, &|text| model.tokens(text)),
                seconds: last.duration_since(before).as_secs_f32(),
            })
        })
    })?;
    let writing: f32 = written.iter().map(|w| w.seconds).sum();
    let clock = Instant::now();
    let texts: Vec<TrainingText> = match arm {
        Arm::Base | Arm::OpenBook => Vec::new(),
        _ => written.into_iter().flat_map(|w| w.texts).collect(),
    };
    let sequences = texts.len();
    let trained = match texts.is_empty() {
        true => None,
        false => {
            let training = Training {
                update: options.update(in_two_wordings(&texts), seed),
                texts,
                init: None,
            };
            let mut tell = |done: usize, of: usize, loss: f32| {
                let message = format!("step {done} of {of}, loss {loss:.3}");
                journal.progress(arm.name(), 0.1 + 0.8 * done as f32 / of as f32, &message);
                journal.check().is_ok()
            };
            model.train(vec![training], &mut tell)?.pop()
        }
    };
    journal.progress(arm.name(), 0.9, "asking");
    let items: Vec<(Prompt, String)> = cases
        .iter()
        .flat_map(|c| closed_book(&c.passage.title, &c.questions))
        .collect();
    let adapter = trained.as_ref().map(|t| &t.adapter);
    let mut answers = Vec::new();
    for batch in items.chunks(QUESTIONS) {
        let model = Interruptible::new(model, &stop);
        answers.extend(answer_all(model, adapter, batch, options.gate.grader)?);
    }
    Ok(Learned {
        answers,
        sequences,
        tokens: trained.map_or(0, |t| t.tokens),
        seconds: writing + clock.elapsed().as_secs_f32(),
    })
}
