//! Adapt: a model learns one task from its examples.

pub mod admit;
pub mod expiry;
pub mod request;
pub mod run;
pub mod task;
#[cfg(test)]
mod tests;
