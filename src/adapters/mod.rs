//! The registry of adapters: names, versions, publish and rollback, PEFT import and export.
//!
//! ```text
//!  request "support-kb@7" ─► resolve ─► row (alias, 7) ─► digest ─► cache ─► Arc<Loaded>
//!  training ends ─► publish: blobs ─► row + compare-and-swap of the alias ─► cache
//! ```
//!
//! A request holds an `Arc` of its adapter from start to end. So a move of the alias never changes an answer half-way,
//! and a retired version is freed with its last user.
//!
//! Deliberately absent: how an adapter is trained or applied (engine), and HTTP.

mod cache;
mod error;
mod expiry;
pub mod lineage;
mod name;
pub mod records;
mod registry;
mod routers;
mod routes;
mod unlearn;

/// The messages of a request, as the choice among adapters reads them.
pub use crate::learn::inner::router::Conversation;
pub use cache::Loaded;
pub use error::{Error, Result};
pub use expiry::{THROW_AWAY, delete_expired};
pub use lineage::Lineage;
pub use name::{AliasName, InvalidName};
pub use registry::{Learned, Registry, Resolved};
pub use routes::Routes;
pub use unlearn::Unlearning;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;
