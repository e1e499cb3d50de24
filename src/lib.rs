//! Autodidact: a language-model server that keeps learning.
//!
//! Arrows between the rooms run down only: `http → jobs → learn → {adapters, pool} → engine`, with
//! `store` beside them.

pub mod adapters;
pub mod config;
pub mod http;
pub mod jobs;
pub mod learn;
pub mod models;
pub mod pool;
pub mod store;
