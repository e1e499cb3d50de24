//! The teacher and the judge of a table. `--teacher-model` writes the self-edits of the teacher's row. `--judge` grades
//! every row's answers a second time, after the word-based grader.

use crate::cli::text_models::TextModels;
use autodidact::config::TextModelConfig;
use autodidact::learn::options::self_edit::SelfEditOptions;
use autodidact::learn::ports::journal::Journal;
use autodidact::learn::ports::model::Model;
use autodidact::learn::ports::text_model::{Helpers, TextModel};
use autodidact::learn::stats::Estimate;
use autodidact::study::compare::{EvalPassage, KnowledgeRow};
use autodidact::study::helpers::{judged, write_edits};
use clap::Args;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Args)]
pub struct HelperArgs {
    /// The model that writes the teacher's self-edits, of the kind in self_edit.kind: NAME, URL#MODEL or
    /// mistralrs:FILE.
    #[arg(long, value_name = "MODEL", conflicts_with = "teacher")]
    pub teacher_model: Option<TextModelConfig>,
    /// A model that grades the answers a second time: NAME, URL#MODEL or mistralrs:FILE.
    #[arg(long, value_name = "MODEL")]
    pub judge: Option<TextModelConfig>,
}

/// The opened models.
pub struct Opened {
    helpers: Helpers,
    /// The teacher's wall-clock seconds per passage, once it has written.
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
    /// Has the teacher write self-edits for the cases, if there is a teacher.
    pub fn write_edits(
        &mut self,
        model: &dyn Model,
        cases: &mut [EvalPassage],
        options: &SelfEditOptions,
        seed: u64,
        journal: &dyn Journal,
    ) -> Result<(), String> {
        let seconds = write_edits(&self.helpers, model, cases, options, seed, journal);
        self.teacher_seconds = seconds.map_err(|e| format!("--teacher-model: {e}"))?;
        Ok(())
    }

    /// The accuracy of a row's answers by the judge's grades; `None` without a judge.
    pub fn judge(
        &self,
        row: &KnowledgeRow,
        cases: &[EvalPassage],
        seeds: usize,
    ) -> Result<Option<Estimate>, String> {
        let judge = self.helpers.judge.as_deref();
        let judged = judge.map(|judge| judged(judge, row, cases, seeds));
        judged.transpose().map_err(|e| format!("--judge: {e}"))
    }

    /// The names of the models.
    pub fn names(&self) -> Value {
        json!({
            "teacher_model": name(&self.helpers.teacher),
            "judge": name(&self.helpers.judge),
        })
    }

    pub fn teacher_seconds(&self) -> Option<f32> {
        self.teacher_seconds
    }

    /// The note under the table.
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
