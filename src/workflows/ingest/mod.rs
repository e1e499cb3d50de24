//! Ingest: documents are learned one after another, each a version of the alias.

pub mod admit;
mod events;
#[cfg(test)]
mod interrupt_tests;
pub mod request;
pub mod run;
mod scores;
#[cfg(test)]
mod tests;
