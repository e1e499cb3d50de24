//! The Model Context Protocol for agent frameworks. Its tools call the same workflows as the routes.

pub mod mcp;
pub mod progress;
pub mod tools;
