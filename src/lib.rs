//! Autodidact: a language-model server that keeps learning.

pub mod learn;
pub mod pool;
pub mod config;
//!
//! Arrows between the rooms run down only: `http → jobs → learn → {adapters, pool} → engine`, with
//! `store` beside them.

pub mod adapters;
pub mod jobs;
pub mod store;
