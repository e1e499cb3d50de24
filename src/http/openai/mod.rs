//! OpenAI's routes, and vLLM's two routes for adapters, with their names, shapes, status codes and error envelope.

pub mod chat;
pub mod completions;
pub mod fields;
pub mod generation;
pub mod messages;
pub mod models;
pub mod offsets;
pub mod parameters;
pub mod response;
pub mod sampling;
pub mod vllm;
