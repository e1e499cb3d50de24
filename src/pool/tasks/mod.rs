//! Task queues: the implementations of [`crate::learn::ports::tasks::TaskQueue`], proven by one suite
//! (`conformance`).

#[cfg(test)]
mod conformance;
mod memory;
mod stored;

pub use memory::MemoryTasks;
pub use stored::StoredTasks;
