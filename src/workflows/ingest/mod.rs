//! Ingest: documents are learned one after another, each a version of the alias.

#[cfg(test)]
mod interrupt_tests;
pub(crate) mod journal;
pub mod run;
mod scores;
#[cfg(test)]
mod tests;
