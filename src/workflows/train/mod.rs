//! Train: a policy practises writing self-edits.

pub mod admit;
mod contexts;
pub mod request;
pub mod run;
