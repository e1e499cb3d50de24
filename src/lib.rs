//! Autodidact: a language-model server that keeps learning.
//!
//! `http` calls `jobs`; `jobs` joins `learn`, `adapters` and `store`; `pool` answers what `learn` asks of a
//! model with the engine of this process. ARCHITECTURE.md has the map.

pub mod adapters;
pub mod config;
pub mod http;
pub mod jobs;
pub mod learn;
pub mod models;
pub mod pool;
pub mod question;
pub mod store;
pub mod study;
pub mod workflows;
