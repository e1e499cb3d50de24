//! What every route needs: reading requests, errors as answers, keys, metrics, and the pages that belong to no
//! API (console, health).

pub mod auth;
pub mod console;
pub mod error;
pub mod extract;
pub mod health;
pub mod metrics;
pub mod state;
