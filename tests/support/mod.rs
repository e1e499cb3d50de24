//! Helpers of several tests.

pub mod hub;
pub mod workshop;
