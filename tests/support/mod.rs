//! What several tests lean on.

pub mod hub;
pub mod workshop;
