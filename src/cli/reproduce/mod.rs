//! `autodidact reproduce`: the paper's tables on this model and this data, a table a file.

mod cpt;
mod data;
mod helpers;
mod knowledge;
mod notebook;
mod output;
mod reward;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Reproduce {
    #[command(subcommand)]
    table: Table,
}

#[derive(Debug, Subcommand)]
enum Table {
    /// Single-passage knowledge incorporation: what is answered closed book after learning.
    Knowledge(knowledge::Knowledge),
    /// Continued pretraining: all passages in one adapter, then all questions.
    Cpt(cpt::Cpt),
    /// How far each reward of the outer loop can be trusted, and what it costs.
    Reward(reward::RewardStudy),
}

impl Reproduce {
    pub fn run(self) -> Result<(), String> {
        match self.table {
            Table::Knowledge(knowledge) => knowledge.run(),
            Table::Cpt(cpt) => cpt.run(),
            Table::Reward(study) => study.run(),
        }
    }
}
