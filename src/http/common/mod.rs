//! Code for all routes: reading requests, errors as answers, keys, metrics, and the pages outside any API (console,
//! health).

pub mod auth;
pub mod console;
pub mod error;
pub mod extract;
pub mod form;
pub mod health;
pub mod linger;
pub mod metrics;
pub mod sse;
pub mod state;
pub mod upload;
