//! Deleting the events and steps of jobs that ended long ago. The jobs, documents and versions stay.

use super::Jobs;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Deletes events and steps of jobs that ended more than `keep_days` ago, now and then once a day. Returns at once if
/// `keep_days` is 0 (keep for ever); otherwise never returns.
pub async fn prune_daily(jobs: Jobs, keep_days: u32) {
    if keep_days == 0 {
        return;
    }
    let mut days = tokio::time::interval(DAY);
    loop {
        days.tick().await;
        let store = jobs.store().clone();
        let pruned = tokio::task::spawn_blocking(move || store.events().prune(DAY * keep_days));
        match pruned.await {
            Ok(Ok(0)) => {}
            Ok(Ok(rows)) => tracing::info!(rows, "pruned events and steps of old jobs"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot prune old jobs"),
            Err(error) => tracing::error!(%error, "pruning old jobs broke off"),
        }
    }
}
