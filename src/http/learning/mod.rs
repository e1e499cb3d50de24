//! Our own routes: ingest, adapt and train, their jobs and documents, and the adapters.

pub mod adapt;
pub mod adapters;
pub mod archive;
pub mod deletion;
pub mod documents;
pub mod events;
pub mod ingest;
pub mod ingest_body;
pub mod jobs;
pub mod retention;
pub mod train;
pub mod weights;
