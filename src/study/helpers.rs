//! The helpers of a table: a teacher model that writes the self-edits of the teacher's row, and a judge model that
//! grades a row's answers a second time.

use super::compare::{EvalPassage, KnowledgeRow};
use crate::learn::grading::judge::{AnswerToGrade, Verdict, judge};
use crate::learn::knowledge::author::Author;
use crate::learn::knowledge::datasets;
use crate::learn::knowledge::self_edit::{self, SelfEdit};
use crate::learn::options::self_edit::{SelfEditOptions, Writer};
use crate::learn::ports::interruptible::Interruptible;
use crate::learn::ports::journal::{Interrupted, Journal, step};
use crate::learn::ports::model::{Model, ModelError};
use crate::learn::ports::text_model::{Helpers, TextModel};
use crate::learn::stats::{Estimate, estimate};
use std::time::Instant;

/// Has the teacher write self-edits for the passages and gives its wall-clock seconds per passage; `None` without a
/// teacher. The self-edits are written once and serve every seed of the table, like self-edits from a file.
pub fn write_edits(
    helpers: &Helpers,
    model: &dyn Model,
    passages: &mut [EvalPassage],
    options: &SelfEditOptions,
    seed: u64,
    journal: &dyn Journal,
) -> Result<Option<f32>, Interrupted> {
    let Some(teacher) = &helpers.teacher else {
        return Ok(None);
    };
    let (name, count, mut all_seconds) = (teacher.name(), passages.len(), 0.0);
    let model = Interruptible::new(model, &|| false);
    let author = Author::new(Writer::Teacher, model, None, helpers)?;
    for (nth, case) in passages.iter_mut().enumerate() {
        let message = format!("{nth} of {count}");
        journal.progress(name, nth as f32 / count as f32, &message);
        let passage = datasets::digest([(&case.passage, [].as_slice())].into_iter());
        let written = step(journal, &format!("teacher:{name}:{passage}"), || {
            let clock = Instant::now();
            let edits = self_edit::write(author, &case.passage, options, seed)?;
            Ok((edits, clock.elapsed().as_secs_f32()))
        });
        let (edits, seconds): (Vec<SelfEdit>, f32) = written?;
        case.teacher = edits;
        all_seconds += seconds;
    }
    Ok(Some(all_seconds / count.max(1) as f32))
}

/// The accuracy of a row's answers by the judge's grades. `passages` and `seeds` are those of the row. The interval
/// comes from resampling passages, as for the row's own accuracy.
pub fn judged(
    model: &dyn TextModel,
    row: &KnowledgeRow,
    passages: &[EvalPassage],
    seeds: usize,
) -> Result<Estimate, ModelError> {
    let given = row.answers.iter().map(|a| AnswerToGrade {
        question: &a.question,
        gold: &a.gold,
        answer: &a.answer,
    });
    let verdicts = judge(model, &given.collect::<Vec<_>>(), &|| false)?;
    let right = |verdict| f32::from(u8::from(verdict == Verdict::Right));
    let mut rights = verdicts.into_iter().map(right);
    // The row's answers are ordered by passage, then by seed.
    let clusters = passages.iter().map(|case| {
        let asked = case.questions.len() * seeds;
        rights.by_ref().take(asked).collect()
    });
    Ok(estimate(&clusters.collect::<Vec<_>>()))
}
