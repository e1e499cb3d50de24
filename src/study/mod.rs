//! The paper's tables, computed over `learn`. `autodidact reproduce` prints them.

pub mod compare;
pub mod continual;
pub mod continual_table;
#[cfg(test)]
mod continual_tests;
pub mod cpt;
pub mod fewshot;
pub mod heatmap;
pub mod reliability;
