//! Context distillation (arXiv 2209.15189), on the student's own samples (arXiv 2306.13649): the teacher
//! is the model with the document in its context, the student the same model without it. The student
//! answers the questions of the study notes; at every token of its answers it is moved towards what the
//! teacher would have said there. A student that has learned answers better, so it is sampled anew for
//! each round.

use crate::learn::knowledge::Passage;
use crate::learn::knowledge::closed_book::{ask, ask_open_book};
use crate::learn::knowledge::sequences;
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::Interrupted;
use crate::learn::ports::model::{
    Adapter, DistillExample, ModelError, OnStep, Sampling, SoftTargets, Trained, Training,
    TrainingText,
};

/// Samplings of the student; the epochs are divided among them.
const ROUNDS: usize = 4;
/// Longest answer of the student, tokens.
const ANSWER_TOKENS: usize = 32;
const TEMPERATURE: f32 = 0.7;

/// Most questions of one round.
const QUESTIONS: usize = 32;

/// Trains with the settings of `training`, on the questions of its texts instead of the texts.
pub fn train(
    model: Interruptible<'_>,
    passage: &Passage,
    training: Training,
    on_step: &mut OnStep<'_>,
) -> Result<Trained, Interrupted> {
    let questions = questions(passage, &training.texts);
    let teacher = training.init.clone();
    let epochs = training.update.epochs;
    let rounds = ROUNDS.min(epochs);
    let mut student = training.init.clone();
    let (mut losses, mut tokens) = (Vec::new(), 0);
    for round in 0..rounds {
        let drawn = training.update.seed.wrapping_add(round as u64);
        let lessons = lessons(model, passage, &questions, student.as_ref(), drawn)?;
        let mut part = training.clone();
        part.init = student.clone();
        part.update.epochs = epochs * (round + 1) / rounds - epochs * round / rounds;
        part.update.seed = drawn;
        let targets = SoftTargets::Teacher {
            adapter: teacher.clone(),
            lessons,
        };
        let trained = model.train_on_soft_targets(part, &targets, &mut |done, steps, loss| {
            on_step(round * steps + done, rounds * steps, loss)
        })?;
        losses.extend(trained.losses);
        tokens += trained.tokens;
        student = Some(trained.adapter);
    }
    let adapter = student.ok_or(ModelError::Stopped)?;
    Ok(Trained {
        adapter,
        losses,
        tokens,
    })
}

/// The student's answers now, with the student's and the teacher's prompts.
fn lessons(
    model: Interruptible<'_>,
    passage: &Passage,
    questions: &[String],
    student: Option<&Adapter>,
    seed: u64,
) -> Result<Vec<DistillExample>, Interrupted> {
    let prompts: Vec<_> = questions.iter().map(|q| ask(&passage.title, q)).collect();
    let sampling = Sampling {
        temperature: TEMPERATURE,
        seed,
        ..Sampling::greedy(ANSWER_TOKENS)
    };
    let answers = model.generate(&prompts, student, &sampling)?;
    let asked = questions.iter().zip(prompts).zip(answers);
    Ok(asked
        .map(|((question, student), answers)| DistillExample {
            student,
            teacher: ask_open_book(passage, question),
            answer: answers.into_iter().next().unwrap_or_default(),
        })
        .collect())
}

/// The questions of the study notes; if there are none, one that asks for the document.
fn questions(passage: &Passage, texts: &[TrainingText]) -> Vec<String> {
    let asked = sequences::questions(texts).into_iter().take(QUESTIONS);
    let asked: Vec<String> = asked.map(str::to_owned).collect();
    match asked.is_empty() {
        true => vec![format!("What is known about {}?", passage.title)],
        false => asked,
    }
}
