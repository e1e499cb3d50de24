//! Unlearn: a document is deleted with what was learned from it. Where it had an adapter of its own this is done at
//! once; where an adapter learned several documents, a job learns the others again.

pub mod admit;
mod measure;
pub mod run;
#[cfg(test)]
mod tests;
