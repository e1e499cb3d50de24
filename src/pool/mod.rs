//! Who computes: engines of this process. What learning asks of a model ([`crate::learn::Model`]) is
//! answered here, and work for several engines is handed out as leased [`tasks`].

mod local;
mod open;
pub mod tasks;

pub use local::LocalModel;
pub use open::{open_engine, open_executor};
