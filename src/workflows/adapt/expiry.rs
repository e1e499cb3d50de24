//! Deleting throw-away adapters whose time is over.

use crate::adapters::{Registry, delete_expired};
use std::sync::Arc;
use std::time::Duration;

/// How long after its time an adapter may still answer.
const ROUND: Duration = Duration::from_secs(20);

/// Now and every twenty seconds, for ever.
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
