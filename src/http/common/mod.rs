//! What every route needs (reading requests, errors as answers, keys, metrics), and the pages that belong to no API
//! (console, documentation, health).

pub mod auth;
pub mod console;
pub mod docs;
pub mod error;
pub mod extract;
pub mod health;
pub mod metrics;
pub mod serve;
pub mod starting;
pub mod state;
