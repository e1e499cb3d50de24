//! Autodidact: a language-model server that keeps learning.

pub mod learn;
pub mod pool;
pub mod config;
