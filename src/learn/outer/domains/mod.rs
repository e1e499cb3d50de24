//! The kinds of task that the outer loop practises on: the implementations of
//! [`super::domain::Domain`].

pub mod fewshot;
pub mod knowledge;
#[cfg(test)]
mod knowledge_tests;
