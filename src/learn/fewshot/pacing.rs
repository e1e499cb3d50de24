//! The stages of an adaptation that measure and plan: a few timed training steps tell the speed of this machine, and a
//! plan cuts the work to the time. Half of the time that is left ends them.

use super::adapt::Run;
use super::budget::over;
use super::plan::{Pace, Plan, Wish};
use super::predict::Question;
use super::self_edit::SelfEdit;
use super::sizes::{bytes, prompt_bytes};
use super::task::MOST_SEQUENCES;
use crate::learn::ports::journal::{Interrupted, step};
use crate::learn::ports::model::{TrainingText, Update};
use std::time::Instant;

/// Training steps that are timed. A single step would mostly measure the start and the end of a training.
const TIMED: usize = 4;

impl Run<'_> {
    /// The work that fits the time, estimated from the measured time of one training step.
    pub(super) fn plan(&mut self, edits: &[SelfEdit]) -> Result<Plan, Interrupted> {
        let clock = Instant::now();
        self.journal.progress("plan", 0.1, "timing training steps");
        // What is not looked at in half of the time is reckoned like the rest.
        let journal = self.journal;
        let late = over(self.budget.before_end(self.budget.left() / 2.0), journal);
        let plan = step(journal, "plan", || {
            let texts: Vec<Vec<TrainingText>> = (edits.iter())
                .map(|edit| self.texts(edit, None, MOST_SEQUENCES, &late))
                .collect();
            journal.check()?;
            let measured = texts.iter().flatten().min_by_key(|text| bytes(text));
            let pace = match measured {
                Some(text) => self.pace(text)?,
                None => Pace(0.0),
            };
            let sequences = texts.iter().map(|texts| {
                let bytes: usize = texts.iter().map(bytes).sum();
                (texts.len(), bytes as f32 / texts.len().max(1) as f32)
            });
            let task = self.input.task;
            let asked: Vec<Vec<Question>> = self.questions(&edits[0], usize::MAX, &late);
            let prompts = asked.iter().flatten().map(|q| prompt_bytes(&q.prompt));
            let prompts: Vec<usize> = prompts.collect();
            let answers = task.demonstrations();
            let answers = answers.iter().map(|turn| turn.assistant.len()).max();
            let wish = Wish {
                edits,
                sequences: sequences.collect(),
                folds: if task.train_len() > 1 {
                    task.train_len()
                } else {
                    0
                },
                views: asked.iter().map(Vec::len).max().unwrap_or(0),
                tests: task.test_len(),
                prompt: prompts.iter().sum::<usize>() as f32 / prompts.len().max(1) as f32,
                answer: answers.unwrap_or(0) as f32,
                seconds: self.budget.left(),
            };
            Ok(wish.plan(pace))
        })?;
        self.done("plan", clock);
        Ok(plan)
    }

    fn pace(&self, text: &TrainingText) -> Result<Pace, Interrupted> {
        let update = Update {
            epochs: 1,
            ..self.update(&SelfEdit::default(), 1)
        };
        // The first training step of a process also prepares data for all later steps (without AVX512_BF16 the
        // transposed weights), so it is not timed, unless it takes half of the time that is left.
        let end = self.budget.before_end(self.budget.left() / 2.0);
        let first = Instant::now();
        self.train_all(vec![(vec![text.clone()], update.clone())], [0.1, 0.11], end)?;
        let clock = Instant::now();
        if clock >= end {
            return Ok(Pace((clock - first).as_secs_f32() / bytes(text) as f32));
        }
        let timed = vec![(vec![text.clone(); TIMED], update)];
        let trained = self.train_all(timed, [0.11, 0.12], end)?;
        let elapsed = clock.elapsed().as_secs_f32();
        // Of steps that were cut short the finished ones tell the pace.
        let steps = match Instant::now() >= end {
            true => trained.iter().map(|t| t.losses.len()).sum::<usize>(),
            false => TIMED,
        };
        let one = elapsed / steps.max(1) as f32;
        Ok(Pace(one / bytes(text) as f32))
    }
}
