//! The only room that knows HTTP and status codes.
//!
//! ```text
//! router     the table of routes, and the layers that every request passes
//! openai     OpenAI's routes: chat, completions, models; vLLM's two for adapters
//! learning   our own routes: ingest, adapt, train, documents, jobs, adapters
//! agents     the Model Context Protocol, for agent frameworks
//! common     bodies, errors, keys, metrics, console, documentation, health
//! ```
//!
//! A handler parses a request, calls one workflow (a blocking one on a thread of its own) and shapes the answer. It
//! checks nothing that HTTP, an agent and the command line must check alike: that is the workflow's. A handler keeps no
//! state: what must survive a restart is in the store.

mod agents;
mod common;
mod learning;
mod openai;
mod router;

pub use common::auth::Access;
pub use common::docs::openapi;
pub use common::serve::serve;
pub use common::starting::Startup;
pub use common::state::AppState;
