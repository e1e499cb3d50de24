//! Unlearning: the documents that had shared an adapter with a deleted one are learned again without it, from where the
//! adapter began, by their stored study notes. The questions about the deleted document show what is left of it.

use super::answerer::{Answerer, Item};
use super::replay::{self, Earlier};
use super::report::{RetainedProbe, Retention};
use crate::learn::grading::Grading;
use crate::learn::knowledge::closed_book::{ANSWER_TOKENS, Answer, accuracy, ask};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::{Interrupted, Journal};
use crate::learn::ports::model::{Adapter, Model, Trained, Training, TrainingText, Update};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

/// What is left of a deleted document, and of the documents that were learned again without it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnlearnReport {
    /// The deleted document's questions
    pub probes: Vec<ForgottenProbe>,
    /// Share of them answered right before the deletion, 0 to 1; none without questions
    pub score_before: Option<f32>,
    /// Share answered right by the base, or by the uploaded adapter that the alias began with
    pub score_base: Option<f32>,
    /// Share answered right now
    pub score_after: Option<f32>,
    /// Whether `score_after` is at most `score_base`
    pub forgotten: bool,
    /// The questions about the documents that were learned again; none if nothing was trained, for then their adapters
    /// are what they were
    pub retained: Vec<RetainedProbe>,
    pub retention: Option<Retention>,
    /// Number of trainings
    pub trainings: usize,
    pub training_sequences: usize,
    /// Mean loss of each optimizer step of the last training, nats a token
    pub losses: Vec<f32>,
}

/// A question about the deleted document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ForgottenProbe {
    pub question: String,
    pub answer: String,
    pub before: Answer,
    pub base: Answer,
    pub after: Answer,
}

/// Who answers for the alias before and after.
pub struct Answering<'a> {
    pub before: Answerer<'a>,
    /// The base, or the uploaded adapter that the alias began with.
    pub base: Answerer<'a>,
}

impl Answering<'_> {
    /// The answers before the deletion, and those of the base.
    fn ask(
        &self,
        model: Interruptible<'_>,
        items: &[Item],
        grading: Grading<'_>,
    ) -> Result<(Vec<Answer>, Vec<Answer>), Interrupted> {
        let before = self.before.answer(model, items, grading, ANSWER_TOKENS)?;
        let base = self.base.answer(model, items, grading, ANSWER_TOKENS)?;
        Ok((before, base))
    }
}

/// The documents that are learned again.
pub struct Again<'a> {
    pub documents: &'a [Earlier],
    /// The adapter that training starts from; `None`: a fresh one.
    pub start: Option<&'a Adapter>,
    pub update: Update,
    /// Most trainings.
    pub attempts: usize,
    /// Share of the documents' right answers that may be lost before another training is tried, 0 to 1.
    pub budget: f32,
}

/// The report of a deletion that trains nothing. `after`: who answers for the alias now.
pub fn left_of(
    model: Interruptible<'_>,
    forgotten: &Earlier,
    answering: &Answering<'_>,
    after: &Answerer<'_>,
    grading: Grading<'_>,
) -> Result<UnlearnReport, Interrupted> {
    let items = questions(std::slice::from_ref(forgotten));
    let mut report = UnlearnReport::default();
    let (before, base) = answering.ask(model, &items, grading)?;
    let now = after.answer(model, &items, grading, ANSWER_TOKENS)?;
    report.forget(forgotten, &before, &base, now);
    Ok(report)
}

/// Learns the documents again and measures what is left of the deleted one. The last adapter is returned, for a
/// deletion is never refused; the report tells how far it came.
pub fn relearn(
    model: &dyn Model,
    forgotten: &Earlier,
    again: &Again<'_>,
    answering: &Answering<'_>,
    grading: Grading<'_>,
    journal: &dyn Journal,
) -> Result<(UnlearnReport, Trained), Interrupted> {
    let stop = || journal.check().is_err();
    let model = Interruptible::new(model, &stop);
    journal.progress("before", 0.02, "asking before unlearning");
    let items = questions(std::slice::from_ref(forgotten));
    let (before, base) = answering.ask(model, &items, grading)?;
    let kept = replay::probes(again.documents);
    let kept_items: Vec<Item> = (kept.iter())
        .map(|(title, p)| item(title, &p.question.question, &p.question.answer))
        .collect();
    let kept_before = answering
        .before
        .answer(model, &kept_items, grading, ANSWER_TOKENS)?;
    let mut report = UnlearnReport {
        retained: (kept.into_iter().zip(kept_before))
            .map(|((title, probe), before)| RetainedProbe::asked(title, probe, before))
            .collect(),
        ..UnlearnReport::default()
    };
    let texts: Vec<TrainingText> = again
        .documents
        .iter()
        .flat_map(|d| d.texts.clone())
        .collect();
    report.training_sequences = texts.len();
    let mut update = again.update.clone();
    loop {
        journal.check()?;
        let nth = report.trainings;
        let training = Training {
            texts: texts.clone(),
            update: update.clone(),
            init: again.start.cloned(),
        };
        let trained = train(model, training, (nth, again.attempts), journal)?;
        report.trainings += 1;
        report.losses = trained.losses.clone();
        journal.progress(
            "after",
            progress(nth, again.attempts, 0.9),
            "asking after unlearning",
        );
        let now = Answerer::One(Some(&trained.adapter));
        let kept_after = now.answer(model, &kept_items, grading, ANSWER_TOKENS)?;
        let after = now.answer(model, &items, grading, ANSWER_TOKENS)?;
        report.retain(kept_after);
        report.forget(forgotten, &before, &base, after);
        let lost = report.retention.map_or(0.0, |r| r.before - r.after);
        let kept = lost <= again.budget + f32::EPSILON;
        journal.event(
            "unlearned",
            json!({"training": nth + 1, "forgotten": report.forgotten, "score_before": report.score_before,
                "score_base": report.score_base, "score_after": report.score_after,
                "retention": report.retention}),
        );
        if (kept && report.forgotten) || nth + 1 >= again.attempts {
            return Ok((report, trained));
        }
        update.epochs = (update.epochs * 3).div_ceil(2);
        update.seed = update.seed.wrapping_add(1);
    }
}

fn train(
    model: Interruptible<'_>,
    training: Training,
    (nth, of): (usize, usize),
    journal: &dyn Journal,
) -> Result<Trained, Interrupted> {
    let mut stop = Ok(());
    let mut on_step = |done: usize, steps: usize, loss: f32| {
        let share = 0.1 + 0.8 * done as f32 / steps as f32;
        let message = format!("step {done} of {steps}, loss {loss:.3}");
        journal.progress("training", progress(nth, of, share), &message);
        journal.event(
            "train",
            json!({"attempt": nth + 1, "step": done, "steps": steps, "loss": loss}),
        );
        stop = journal.check();
        stop.is_ok()
    };
    let trained = model.train(vec![training], &mut on_step);
    stop?;
    Ok(trained?.pop().expect("one adapter for one training"))
}

/// The fraction of the job that is done at `share` of the `nth` of `of` trainings. Most jobs need one training.
fn progress(nth: usize, of: usize, share: f32) -> f32 {
    let left = 1.0 / (1 << nth.min(of)) as f32;
    1.0 - left + left * share * 0.5
}

impl UnlearnReport {
    fn forget(&mut self, of: &Earlier, before: &[Answer], base: &[Answer], after: Vec<Answer>) {
        let share = |answers: &[Answer]| (!answers.is_empty()).then(|| accuracy(answers));
        self.score_before = share(before);
        self.score_base = share(base);
        self.score_after = share(&after);
        self.forgotten = accuracy(&after) <= accuracy(base) + f32::EPSILON;
        let answers = before.iter().zip(base).zip(after);
        self.probes = (of.probes.iter().zip(answers))
            .map(|(probe, ((before, base), after))| ForgottenProbe {
                question: probe.question.question.clone(),
                answer: probe.question.answer.clone(),
                before: before.clone(),
                base: base.clone(),
                after,
            })
            .collect();
    }

    fn retain(&mut self, after: Vec<Answer>) {
        for (probe, answer) in self.retained.iter_mut().zip(after) {
            probe.after = Some(answer);
        }
        let answers = self.retained.iter().map(|p| (&p.before, p.after.as_ref()));
        self.retention = Retention::of(answers);
    }
}

fn questions(documents: &[Earlier]) -> Vec<Item> {
    let of = |d: &Earlier| -> Vec<Item> {
        let probes = d.probes.iter();
        probes
            .map(|p| item(&d.passage.title, &p.question.question, &p.question.answer))
            .collect()
    };
    documents.iter().flat_map(of).collect()
}

fn item(title: &str, question: &str, gold: &str) -> Item {
    Item {
        question: question.to_owned(),
        prompt: ask(title, question),
        gold: gold.to_owned(),
    }
}
