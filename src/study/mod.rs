//! The paper's tables, computed over `learn`. `autodidact reproduce` prints them.
//!
//! ```text
//! compare          single passages: the same passages under several ways of learning
//! ├ practice       the policies of the outer loop, which write the last rows' self-edits
//! └ helpers        a teacher's row, and a judge's column
//! cpt              continued pretraining: all passages in one adapter
//! continual        documents one after another, and the retention of each
//! ├ continual_table, continual_runs, heatmap
//! fewshot          ARC tasks in context, after self-edits, by the oracle
//! └ arc            the tasks' files and lists
//! reliability      the reliability and the cost of each reward of the outer loop
//! route            the router, among many documents and in conversations
//! usable           what learned documents can be used for, in seven ways of asking
//! settings         the settings that decide a table's measurements
//! table_journal    the journal of a table, kept in a table_directory
//! ```

pub mod arc;
pub mod compare;
pub mod continual;
pub mod continual_runs;
pub mod continual_table;
#[cfg(test)]
mod continual_tests;
pub mod cpt;
pub mod fewshot;
pub mod heatmap;
pub mod helpers;
pub mod practice;
pub mod reliability;
pub mod route;
pub mod settings;
mod table_directory;
pub mod table_journal;
pub mod usable;
