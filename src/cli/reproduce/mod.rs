//! `autodidact reproduce` measures the paper's tables on this model and this data. Each table has its own file.

mod continual;
mod cpt;
mod data;
mod fewshot;
mod helpers;

mod knowledge;

mod output;
mod practice;
mod reward;
mod route;
mod terminal;
mod usable;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Reproduce {
    #[command(subcommand)]
    table: Table,
}

#[derive(Debug, Subcommand)]
enum Table {
    /// Single-passage knowledge incorporation: closed-book accuracy after learning.
    Knowledge(knowledge::Knowledge),
    /// Continued pretraining: all passages in one adapter, then all questions.
    Cpt(cpt::Cpt),
    /// The reliability and the cost of each reward of the outer loop.
    Reward(reward::RewardStudy),
    /// Few-shot learning on ARC: tasks solved in context, after self-edits, and by the oracle.
    Fewshot(fewshot::Fewshot),
    /// Documents learned one after another: the retention of each.
    Continual(continual::Continual),
    /// The router: questions that reach their document, general ones that reach none, and the turns of talks.
    Route(route::Route),
    /// What learned documents can be used for: short answers, facts from their other end, two facts, instructions.
    Usable(usable::Usable),
}

impl Reproduce {
    pub fn run(self) -> Result<(), String> {
        match self.table {
            Table::Knowledge(knowledge) => knowledge.run(),
            Table::Fewshot(fewshot) => fewshot.run(),
            Table::Cpt(cpt) => cpt.run(),
            Table::Reward(study) => study.run(),
            Table::Continual(continual) => continual.run(),
            Table::Route(route) => route.run(),
            Table::Usable(usable) => usable.run(),
        }
    }
}
