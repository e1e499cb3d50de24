//! Adapt: one task is learned from its examples.

pub mod expiry;
pub mod run;
#[cfg(test)]
mod tests;
