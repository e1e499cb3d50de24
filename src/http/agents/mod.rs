//! The Model Context Protocol for agent frameworks: tools that call the same code as the routes.

pub mod mcp;
pub mod tools;
