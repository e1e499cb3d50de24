//! The inner loop (SEAL §3): one document becomes one update of an adapter, and a gate decides.

pub mod answerer;
pub mod asking;
pub mod distill;
pub mod gate;
pub mod general;
pub mod input;
mod notes;
mod renewal;
pub mod replacement;
#[cfg(test)]
mod replacement_tests;
pub mod replay;
pub mod report;
pub mod responders;
pub mod retention;
pub mod router;
mod standing;
#[cfg(test)]
mod strategy_tests;
pub mod unlearn;
pub mod update;
#[cfg(test)]
mod update_tests;
