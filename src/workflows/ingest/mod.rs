//! Ingest: an alias learns documents one after another, and each becomes a version.

pub mod admit;
mod earlier;
mod events;
#[cfg(test)]
mod interrupt_tests;
pub mod request;
pub mod run;
mod scores;
#[cfg(test)]
mod tests;
