//! Our own routes: documents in, examples in, practice, the jobs that run them, and the adapters they make.

pub mod adapt;
pub mod adapt_body;
pub mod adapters;
pub mod archive;
pub mod documents;
pub mod events;
pub mod ingest;
pub mod ingest_body;
pub mod jobs;
pub mod retention;
pub mod train;
