//! Our own routes: to learn documents, to adapt to examples and to practise; the jobs that do it, and the adapters that
//! come of it.

pub mod adapt;
pub mod adapters;
pub mod archive;
pub mod documents;
pub mod events;
pub mod ingest;
pub mod ingest_body;
pub mod jobs;
pub mod retention;
pub mod train;
