//! Train: a policy practises writing self-edits.

pub mod admit;
mod contexts;
mod policies;
pub mod request;
pub mod run;
