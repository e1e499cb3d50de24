//! The front door: the only room that knows HTTP, JSON shapes and status codes.
//!
//! ```text
//! router     the table of routes, and the layers that every request passes
//! openai     OpenAI's routes: chat, completions, models; vLLM's two for adapters
//! learning   our own routes: ingest, adapt, train, documents, jobs, adapters
//! agents     the Model Context Protocol, for agent frameworks
//! common     bodies, errors, keys, metrics, console, documentation, health
//! ```
//!
//! A handler parses, calls one workflow (through `spawn_blocking` where that blocks) and shapes the answer.
//! Handlers hold no state of their own: what must survive a restart is in the store.

mod agents;
mod common;
mod learning;
mod openai;
mod router;

pub use common::auth::Access;
pub use common::docs::openapi;
pub use common::serve::serve;
pub use common::starting::Door;
pub use common::state::AppState;
