//! A teacher and a judge at the table: `--teacher-model` writes the self-edits of the teacher's row,
//! `--judge` grades every row's answers a second time, after the grader over words.

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
    /// Puts the teacher's self-edits into the cases, if there is a teacher.
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

    /// Accuracy of a row's answers as the judge sees them, if there is a judge.
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
