//! Autodidact: a language-model server that keeps learning.
//!
//! `http` and `cli` call `workflows`. A workflow checks a request, stores a job through `jobs`, runs the learning in
//! `learn` when the job is leased, and publishes the result through `adapters`. `learn` reaches a model through its
//! ports, which `pool` implements with the engine. `store` keeps everything durable. `study` measures the paper's
//! tables. ARCHITECTURE.md has the map.

pub mod adapters;
pub mod config;
pub mod http;
pub mod jobs;
pub mod learn;
pub mod models;
pub mod pool;
pub mod question;
pub mod reading;
pub mod store;
pub mod study;
pub mod text;
pub mod workflows;
