//! The outer loop inside the single-passage table: policies practise on passages of their own, and write
//! self-edits of the table's after each round.

use super::compare;
use super::table_journal::TableJournal;
use crate::learn::options::self_edit::SelfEditKind;
use crate::learn::options::update::IngestOptions;
use crate::learn::outer::domains::knowledge::{KnowledgeContext, KnowledgeOptions, QuestionSource};
use crate::learn::outer::options::{OuterOptions, Preset};
use crate::learn::outer::report::Report;
use crate::learn::outer::{self, PolicyStore};
use crate::learn::ports::model::{Adapter, Model};
use crate::learn::ports::tasks::TaskQueue;
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;

/// Practices that differ only in their seeds. Measurements under different plans are kept apart.
#[derive(Serialize)]
pub struct PracticePlan {
    /// 0: there is no practice.
    pub rounds: usize,
    pub practices: u64,
    pub kind: SelfEditKind,
    #[serde(rename = "questions")]
    pub source: QuestionSource,
    pub preset: Preset,
    #[serde(rename = "outer")]
    pub options: OuterOptions,
    /// Settings that override the preset's [`KnowledgeOptions`].
    #[serde(rename = "practise_set")]
    pub set: Value,
}

/// A finished practice.
pub struct PracticeRun<'a> {
    pub plan: &'a PracticePlan,
    pub domain: &'a KnowledgeOptions,
    /// The options of the plan, with this practice's seed.
    pub options: OuterOptions,
    /// The practice's label, see [`PracticePlan::label`].
    pub label: String,
    pub report: Report,
    /// The policy after each round.
    pub policies: Vec<Option<Adapter>>,
}

impl PracticePlan {
    /// The suffix of the practice's row names.
    pub fn suffix(&self) -> &'static str {
        match self.source {
            QuestionSource::Given => "",
            QuestionSource::Written => " (own questions)",
        }
    }

    /// The label of the nth practice, from 0. The names of the practice's curves end with the label, and its steps are
    /// stored under the label.
    pub fn label(&self, nth: u64) -> String {
        match nth {
            0 => self.suffix().to_owned(),
            _ => format!("{}, practice {}", self.suffix(), nth + 1),
        }
    }

    /// Fails if the held-out contexts leave none to practise on.
    pub fn check_contexts(&self, contexts: &[KnowledgeContext]) -> Result<(), String> {
        let (held_out, count) = (self.options.held_out, contexts.len());
        match held_out >= count {
            true => Err(format!(
                "held_out: {held_out} of {count} passages leave none to practise on"
            )),
            false => Ok(()),
        }
    }

    /// The preset over the table's own options: trained and graded as the table is, unless the preset or the command
    /// says otherwise.
    pub fn domain(&self, options: &IngestOptions) -> Result<KnowledgeOptions, String> {
        let wrong = |e: &dyn Display| format!("--practise-set: {e}");
        for (field, flag) in [("/self_edit/kind", "--kind"), ("/questions", "--questions")] {
            if self.set.pointer(field).is_some() {
                let field = field[1..].replace('/', ".");
                return Err(format!("--practise-set: {field} is said by {flag}"));
            }
        }
        let merged = KnowledgeOptions::merged(self.preset, options, &self.set);
        let mut domain: KnowledgeOptions = serde_json::from_value(merged).map_err(|e| wrong(&e))?;
        domain.self_edit.kind = self.kind;
        domain.questions = self.source;
        domain.validate().map_err(|e| wrong(&e))?;
        domain.fits(&self.options).map_err(|e| wrong(&e))?;
        Ok(domain)
    }
}

/// Fails if a passage is both practised on and in the table.
pub fn apart(practised: &[KnowledgeContext], table: &[compare::EvalPassage]) -> Result<(), String> {
    let in_both = practised
        .iter()
        .filter(|p| table.iter().any(|c| c.passage.text == p.passage.text));
    match in_both.count() {
        0 => Ok(()),
        n => Err(format!(
            "--practise-on: {n} of its passages are in the table too; practise on others"
        )),
    }
}

/// Runs the nth practice of a plan, from 0. `tasks`: a queue that no other practice uses.
pub fn practise<'a>(
    model: &dyn Model,
    table: &TableJournal,
    plan: &'a PracticePlan,
    domain: &'a KnowledgeOptions,
    contexts: &[KnowledgeContext],
    nth: u64,
    tasks: &dyn TaskQueue,
) -> Result<PracticeRun<'a>, String> {
    let label = plan.label(nth);
    let options = OuterOptions {
        seed: plan.options.seed.wrapping_add(nth),
        ..plan.options.clone()
    };
    let journal = table.scoped(&label);
    let input = outer::OuterLoop {
        model,
        others: &[],
        tasks,
        domain,
        contexts,
        options: &options,
        policy: None,
        practised: &[],
        journal: &journal,
        policies: &journal,
    };
    let report = outer::run(&input).map_err(|e| e.to_string())?.report;
    let (mut policies, mut policy) = (Vec::new(), None);
    for round in &report.rounds {
        let taught = journal.load(&format!("round:{}:policy", round.round));
        let taught = taught.map_err(|e| e.to_string())?;
        policy = taught.map(|(policy, _)| policy).or(policy);
        policies.push(policy.clone());
    }
    Ok(PracticeRun {
        plan,
        domain,
        options,
        label,
        report,
        policies,
    })
}

/// The table's options with the practice's sampling settings. The policy's notes and the notes they are compared with
/// are then sampled as in the practice.
pub fn written_by(options: &IngestOptions, domain: &KnowledgeOptions) -> IngestOptions {
    let mut options = options.clone();
    options.self_edit.temperature = domain.self_edit.temperature;
    options.self_edit.top_p = domain.self_edit.top_p;
    options
}
