//! Who computes. One process has one device and one engine; what learning asks of a model
//! ([`crate::learn::Model`]) is answered here.

mod local;
mod open;
mod soft;

pub use local::LocalModel;
pub use open::{open_engine, open_executor};
