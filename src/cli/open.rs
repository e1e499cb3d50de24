//! Opening the configured model for commands that compute without a server.

use autodidact::config::ExecutorKind;
use autodidact::pool::{LocalModel, open_engine};
use autodidact_engine::scheduler::Priority;
use serde_json::Value;
use std::path::Path;

/// The model, and the learning settings its catalogue entry brings.
pub fn model(name: &str) -> Result<(LocalModel, Value), String> {
    let engine = open_engine(Path::new(name), ExecutorKind::Auto, None, Default::default())
        .map_err(|e| e.to_string())?;
    Ok((LocalModel::new(engine, Priority::Ingest), Value::Null))
}
