//! What several tests lean on.

#![allow(dead_code, reason = "each test uses its part")]

pub mod hub;
pub mod workshop;
