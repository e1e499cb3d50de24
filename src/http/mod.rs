//! The only room that knows HTTP and status codes.
//!
//! ```text
//! router     the table of routes, and the layers that every request passes
//! openai     OpenAI's routes: chat, completions, models; vLLM's two for adapters
//! learning   our own routes: ingest, adapt, train, documents, jobs, adapters
//! agents     the Model Context Protocol, for agent frameworks
//! common     bodies, errors, keys, metrics, console, health
//! docs       the description of the API
//! starting   the answers until the model is loaded
//! ```
//!
//! A handler parses a request, calls one workflow (a blocking one on a thread of its own) and shapes the answer. The
//! workflow makes the checks that HTTP, agents and the command line share. A handler keeps no state; the store keeps
//! everything that must survive a restart.

mod agents;
mod common;
mod docs;
mod learning;
mod openai;
mod router;
mod serve;
mod starting;

pub use common::auth::Access;
pub use common::state::AppState;
pub use docs::openapi;
pub use serve::serve;
pub use starting::Startup;
