//! The front door: the only room that knows HTTP, JSON shapes and status codes.
//!
//! ```text
//! router       the table of routes, and the layers every request passes
//! ├ auth       keys; loopback names where there are none
//! ├ extract    bodies and queries, refused with the field's name
//! ├ error      the one place where an error becomes an answer
//! ├ metrics    what /metrics shows
//! │  OpenAI's routes                      ours
//! ├ chat, completions, models, vllm       ingest, train, documents, jobs, events,
//! ├ generation   one prompt's way         adapters, health, docs, console
//! │ sampling     through the engine
//! └ stream       the answer, as events
//! ```
//!
//! Handlers parse, call a room below (through `spawn_blocking` where that blocks) and shape the
//! answer. They hold no state of their own: what must survive a restart is in the store.

mod adapters;
mod archive;
mod auth;
mod chat;
mod completions;
mod console;
mod docs;
mod documents;
mod error;
mod events;
mod extract;
mod generation;
mod health;
mod ingest;
mod ingest_body;
mod jobs;
mod messages;
mod metrics;
mod models;
mod openai;
mod router;
mod sampling;
mod serve;
mod state;
mod stream;
mod train;
mod vllm;

pub use auth::Access;
pub use docs::openapi;
pub use router::router;
pub use serve::serve;
pub use state::AppState;
