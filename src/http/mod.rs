//! The front door: the only room that knows HTTP, JSON shapes and status codes.
//!
//! ```text
//! door         what answers until the model is here
//! router       the table of routes, and the layers every request passes
//! ├ auth       keys; loopback names where there are none
//! ├ extract    bodies and queries, refused with the field's name
//! ├ error      the one place where an error becomes an answer
//! ├ metrics    what /metrics shows
//! │  OpenAI's routes                      ours
//! ├ chat, completions, models, vllm       ingest, adapt, train, documents, jobs, events,
//! ├ generation   one prompt's way         adapters, retention, health, docs, console
//! │ sampling     through the engine
//! │ routing      which adapter answers
//! └ stream       the answer, as events   mcp: the same for agents, as tools
//! ```
//!
//! Handlers parse, call a room below (through `spawn_blocking` where that blocks) and shape the
//! answer. They hold no state of their own: what must survive a restart is in the store.

mod adapt;
mod adapt_body;
mod adapters;
mod archive;
mod auth;
mod chat;
mod completions;
mod console;
mod docs;
mod documents;
mod door;
mod error;
mod events;
mod extract;
mod generation;
mod health;
mod ingest;
mod ingest_body;
mod jobs;
mod mcp;
mod mcp_tools;
mod messages;
mod metrics;
mod models;
mod openai;
mod retention;
mod router;
mod routing;
mod sampling;
mod serve;
mod state;
mod stream;
mod train;
mod vllm;

pub use auth::Access;
pub use docs::openapi;
pub use door::Door;
pub use serve::serve;
pub use state::AppState;
