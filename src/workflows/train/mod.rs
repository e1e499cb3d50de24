//! Train: a policy practises writing self-edits.

pub mod run;
