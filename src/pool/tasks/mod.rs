//! Task queues: the implementations of [`crate::learn::ports::tasks::TaskQueue`]. One suite of tests (`conformance`)
//! covers them all.

#[cfg(test)]
mod conformance;
mod memory;
mod stored;

pub use memory::MemoryTasks;
pub use stored::StoredTasks;
