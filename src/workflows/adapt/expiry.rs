//! Deleting expired throw-away adapters.

use crate::adapters::{Registry, delete_expired};
use std::sync::Arc;
use std::time::Duration;

/// Time between two rounds. An adapter may answer for this long after its expiry.
const ROUND: Duration = Duration::from_secs(20);

/// Deletes expired adapters now and then every twenty seconds. Never returns.
pub async fn expire_adapters(registry: Arc<Registry>) {
    let mut rounds = tokio::time::interval(ROUND);
    loop {
        rounds.tick().await;
        let registry = registry.clone();
        match tokio::task::spawn_blocking(move || delete_expired(&registry)).await {
            Ok(Ok(0)) => {}
            Ok(Ok(adapters)) => tracing::info!(adapters, "deleted throw-away adapters"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot delete expired adapters"),
            Err(error) => tracing::error!(%error, "deleting expired adapters broke off"),
        }
    }
}
