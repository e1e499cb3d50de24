//! The paper's single-passage table (SEAL §4.2): the same passages, learned from nothing, from the
//! passage alone, and from the passage with self-edits, each with a fresh adapter on the base, then
//! asked closed book.

use super::knowledge::closed_book::{Answer, answer_all, ask_open_book, closed_book};
use super::knowledge::self_edit::{self, SelfEdit};
use super::knowledge::sequences::training_texts;
use super::knowledge::{Passage, Question};
use super::model::{Interruptible, Model, ModelError, Training, TrainingText, Update};
use super::options::{IngestOptions, SelfEditKind, SelfEditOptions};
use super::stats::{Estimate, estimate};
use serde::Serialize;
use std::time::Instant;

/// A passage with its held-out questions.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    pub passage: Passage,
    pub questions: Vec<Question>,
    /// A stronger model's self-edits, if there are any.
    pub teacher: Vec<SelfEdit>,
}

/// One way of learning a passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    /// Nothing learned.
    Base,
    /// Nothing learned, the passage in the prompt: the ceiling.
    OpenBook,
    /// The passage, with self-edits of this kind (`None`: the passage alone).
    Learn(SelfEditKind),
    /// The passage, with the teacher's self-edits.
    Teacher,
}

impl Arm {
    pub const ALL: [Arm; 7] = [
        Arm::Base,
        Arm::Learn(SelfEditKind::None),
        Arm::Learn(SelfEditKind::Rewrite),
        Arm::Learn(SelfEditKind::Implications),
        Arm::Learn(SelfEditKind::SelfQa),
        Arm::Teacher,
        Arm::OpenBook,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Arm::Base => "base",
            Arm::OpenBook => "open-book",
            Arm::Learn(SelfEditKind::None) => "passage",
            Arm::Learn(kind) => kind.name(),
            Arm::Teacher => "teacher",
        }
    }

    pub fn from_name(name: &str) -> Option<Arm> {
        Arm::ALL.into_iter().find(|a| a.name() == name)
    }
}

/// A row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub arm: &'static str,
    pub accuracy: Estimate,
    /// Mean log-likelihood of the gold answers, nats a token.
    pub logprob: f32,
    /// Wall-clock seconds a passage: writing, training and asking.
    pub seconds_per_passage: f32,
    pub tokens_per_passage: f32,
    pub seeds: usize,
    /// What was trained on, run by run.
    pub texts: Vec<Vec<TrainingText>>,
    pub answers: Vec<Asked>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    pub title: String,
    pub question: String,
    pub gold: String,
    pub answer: String,
    pub correct: bool,
    pub seed: u64,
}

/// Runs one arm over all cases and seeds. `on_case` hears how many runs are done.
pub fn run(
    model: &dyn Model,
    cases: &[Case],
    arm: Arm,
    options: &IngestOptions,
    seeds: &[u64],
    on_case: &mut dyn FnMut(usize, usize),
) -> Result<Row, ModelError> {
    let model = Interruptible::new(model, &|| false);
    let clock = Instant::now();
    let mut clusters = vec![Vec::new(); cases.len()];
    let (mut asked, mut texts, mut logprobs, mut tokens) = (Vec::new(), Vec::new(), 0.0, 0);
    let runs = cases.len() * seeds.len();
    for (nth, (case, &seed)) in cases
        .iter()
        .flat_map(|c| seeds.iter().map(move |s| (c, s)))
        .enumerate()
    {
        let learned = run_case(model, case, arm, options, seed)?;
        tokens += learned.tokens;
        texts.push(learned.texts);
        for (question, answer) in case.questions.iter().zip(learned.answers) {
            clusters[nth / seeds.len()].push(answer.correct as u8 as f32);
            logprobs += answer.logprob;
            asked.push(Asked {
                title: case.passage.title.clone(),
                question: question.question.clone(),
                gold: question.answer.clone(),
                answer: answer.answer,
                correct: answer.correct,
                seed,
            });
        }
        on_case(nth + 1, runs);
    }
    Ok(Row {
        arm: arm.name(),
        accuracy: estimate(&clusters),
        logprob: logprobs / asked.len().max(1) as f32,
        seconds_per_passage: clock.elapsed().as_secs_f32() / runs.max(1) as f32,
        tokens_per_passage: tokens as f32 / runs.max(1) as f32,
        seeds: seeds.len(),
        texts,
        answers: asked,
    })
}

#[derive(Default)]
struct Learned {
    answers: Vec<Answer>,
    texts: Vec<TrainingText>,
    /// Trained on, all epochs together.
    tokens: usize,
}

fn run_case(
    model: Interruptible<'_>,
    case: &Case,
    arm: Arm,
    options: &IngestOptions,
    seed: u64,
) -> Result<Learned, ModelError> {
    let untrained = |answers| Learned {
        answers,
        ..Default::default()
    };
    let grader = options.gate.grader;
    let closed = closed_book(&case.passage.title, &case.questions);
    let edits = match arm {
        Arm::Base => return Ok(untrained(answer_all(model, None, &closed, grader)?)),
        Arm::OpenBook => {
            let open = case.questions.iter();
            let open = open.map(|q| (ask_open_book(&case.passage, &q.question), q.answer.clone()));
            let open: Vec<_> = open.collect();
            return Ok(untrained(answer_all(model, None, &open, grader)?));
        }
        Arm::Teacher => {
            let samples = options.self_edit.samples;
            case.teacher.iter().take(samples).cloned().collect()
        }
        Arm::Learn(kind) => {
            let edit = SelfEditOptions {
                kind,
                ..options.self_edit.clone()
            };
            self_edit::write(model, None, &case.passage, &edit, seed)?
        }
    };
    let training = &options.training;
    let texts = training_texts(&case.passage, &edits);
    let training = Training {
        texts: texts.clone(),
        update: Update {
            rank: training.rank,
            alpha: training.alpha,
            learning_rate: training.learning_rate,
            epochs: training.epochs,
            batch_size: training.batch_size,
            seed,
        },
        init: None,
    };
    let trained = model.train(vec![training], &mut |_, _, _| true)?;
    let trained = trained
        .into_iter()
        .next()
        .expect("one training, one adapter");
    let answers = answer_all(model, Some(&trained.adapter), &closed, grader)?;
    Ok(Learned {
        answers,
        texts,
        tokens: trained.tokens,
    })
}
