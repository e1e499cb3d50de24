//! Train: a policy practises writing self-edits.

mod policies;
pub mod run;
