//! The only room that knows HTTP and status codes.
//!
//! ```text
//! router     the table of routes, and the layers that every request passes
//! openai     OpenAI's routes: chat, completions, models; vLLM's two for adapters
//! learning   our own routes: ingest, adapt, train, documents, jobs, adapters
//! agents     the Model Context Protocol, for agent frameworks
//! common     bodies, errors, keys, metrics, console, health
//! docs       the API describes itself
//! starting   what answers until the model is here
//! ```
//!
//! A handler parses a request, calls one workflow (a blocking one on a thread of its own) and shapes the answer. It
//! checks nothing that HTTP, an agent and the command line must check alike: that is the workflow's. A handler keeps no
//! state: what must survive a restart is in the store.

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
