//! `autodidact reproduce`: the paper's tables on this model and this data, a table a file.

mod continual;
mod knowledge;

use clap::{Args, Subcommand};
use continual::Continual;
use knowledge::Knowledge;

#[derive(Debug, Args)]
pub struct Reproduce {
    #[command(subcommand)]
    table: Table,
}

#[derive(Debug, Subcommand)]
enum Table {
    /// Single-passage knowledge incorporation: what is answered closed book after learning.
    Knowledge(Knowledge),
    /// Documents learned one after another: what is left of each.
    Continual(Continual),
}

impl Reproduce {
    pub fn run(self) -> Result<(), String> {
        match self.table {
            Table::Knowledge(knowledge) => knowledge.run(),
            Table::Continual(continual) => continual.run(),
        }
    }
}
