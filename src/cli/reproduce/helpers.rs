//! A teacher and a judge at the table: `--teacher-model` writes the self-edits of the teacher's row,
//! `--judge` grades every row's answers a second time, beside the grader over words.

use crate::cli::text_models::TextModels;
use autodidact::config::TextModelConfig;
use autodidact::learn::datasets;
use autodidact::learn::grading::judge::{AnswerToGrade, Verdict, judge};
use autodidact::learn::knowledge::self_edit::{self, SelfEdit};
use autodidact::learn::options::update::{SelfEditOptions, Writer};
use autodidact::learn::ports::journal::{Journal, step};
use autodidact::learn::ports::model::{Interruptible, Model};
use autodidact::learn::ports::text_model::{Helpers, TextModel};
use autodidact::learn::stats::{Estimate, estimate};
use autodidact::study::compare::{EvalPassage, KnowledgeRow};
use clap::Args;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, Args)]
pub struct HelperArgs {
    /// Write the teacher's self-edits now, by this model: NAME, URL#MODEL or mistralrs:FILE; of the kind that self_edit.kind says.
    #[arg(long, value_name = "MODEL", conflicts_with = "teacher")]
    pub teacher_model: Option<TextModelConfig>,
    /// Let this model grade the answers too: NAME, URL#MODEL or mistralrs:FILE.
    #[arg(long, value_name = "MODEL")]
    pub judge: Option<TextModelConfig>,
}

/// The models themselves.
pub struct Opened {
    helpers: Helpers,
    /// Wall-clock seconds a passage that the teacher wrote for.
    teacher_seconds: Option<f32>,
}

impl HelperArgs {
    pub fn open(&self, text_models: &TextModels) -> Result<Opened, String> {
        let open = |flag: &str, which: &Option<TextModelConfig>| {
            let opened = which.as_ref().map(|which| text_models.open(which));
            opened.transpose().map_err(|e| format!("{flag}: {e}"))
        };
        let teacher = open("--teacher-model", &self.teacher_model)?;
        let judge = match self.judge == self.teacher_model {
            true => teacher.clone(),
            false => open("--judge", &self.judge)?,
        };
        Ok(Opened {
            helpers: Helpers { teacher, judge },
            teacher_seconds: None,
        })
    }
}

impl Opened {
    /// Puts the teacher's self-edits into the cases, if there is a teacher. They are the same for every
    /// seed, as a file's would be, and are written once.
    pub fn write_edits(
        &mut self,
        model: &dyn Model,
        cases: &mut [EvalPassage],
        options: &SelfEditOptions,
        seed: u64,
        journal: &dyn Journal,
    ) -> Result<(), String> {
        let Some(name) = name(&self.helpers.teacher) else {
            return Ok(());
        };
        let options = SelfEditOptions {
            writer: Writer::Teacher,
            ..options.clone()
        };
        let (count, mut all_seconds) = (cases.len(), 0.0);
        let model = Interruptible::new(model, &|| false).helped_by(&self.helpers);
        for (nth, case) in cases.iter_mut().enumerate() {
            let message = format!("{nth} of {count}");
            journal.progress(name, nth as f32 / count as f32, &message);
            let passage = datasets::digest([(&case.passage, [].as_slice())].into_iter());
            let written = step(journal, &format!("teacher:{name}:{passage}"), || {
                let clock = Instant::now();
                let edits = self_edit::write(model, None, &case.passage, &options, seed)?;
                Ok((edits, clock.elapsed().as_secs_f32()))
            });
            let (edits, seconds): (Vec<SelfEdit>, f32) =
                written.map_err(|e| format!("--teacher-model: {e}"))?;
            case.teacher = edits;
            all_seconds += seconds;
        }
        self.teacher_seconds = Some(all_seconds / count.max(1) as f32);
        Ok(())
    }

    /// Accuracy of a row's answers as the judge sees them, if there is a judge. `cases` and `seeds` are
    /// those that the row was run on: passages are resampled, as for the row's own accuracy.
    pub fn judge(
        &self,
        row: &KnowledgeRow,
        cases: &[EvalPassage],
        seeds: usize,
    ) -> Result<Option<Estimate>, String> {
        let Some(helper) = &self.helpers.judge else {
            return Ok(None);
        };
        let given = row.answers.iter().map(|a| AnswerToGrade {
            question: &a.question,
            gold: &a.gold,
            answer: &a.answer,
        });
        let verdicts = judge(&**helper, &given.collect::<Vec<_>>(), &|| false);
        let verdicts = verdicts.map_err(|e| format!("--judge: {e}"))?;
        let mut right = verdicts
            .into_iter()
            .map(|v| f32::from(u8::from(v == Verdict::Right)));
        // The row holds passage after passage, and of each its seeds.
        let clusters = cases.iter().map(|case| {
            let asked = case.questions.len() * seeds;
            right.by_ref().take(asked).collect()
        });
        Ok(Some(estimate(&clusters.collect::<Vec<_>>())))
    }

    /// Who they are.
    pub fn names(&self) -> Value {
        json!({
            "teacher_model": name(&self.helpers.teacher),
            "judge": name(&self.helpers.judge),
        })
    }

    pub fn teacher_seconds(&self) -> Option<f32> {
        self.teacher_seconds
    }

    /// What stands under the table.
    pub fn note(&self, judged: &[(String, Estimate)]) -> String {
        let mut note = String::new();
        if let (Some(name), Some(seconds)) = (name(&self.helpers.teacher), self.teacher_seconds) {
            note += &format!("\nThe teacher is {name}; it wrote {seconds:.1} s for a passage.\n");
        }
        if let Some(name) = name(&self.helpers.judge) {
            note += &format!("\n| trained on | right, says the judge {name} [95 % interval] |\n");
            note += "| --- | --- |\n";
            for (arm, accuracy) in judged {
                note += &format!("| {arm} | {accuracy} |\n");
            }
        }
        note
    }
}

fn name(model: &Option<Arc<dyn TextModel>>) -> Option<&str> {
    model.as_deref().map(TextModel::name)
}
