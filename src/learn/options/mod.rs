//! Settings of an update, and the precedence of the layers they come from.

pub mod precedence;
pub mod strategy;
pub mod update;
