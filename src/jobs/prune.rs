//! Forgetting how jobs went that ended long ago. What came of them stays: job, documents, versions.

use super::Jobs;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Now and once a day, deletes events and steps of jobs that ended more than `keep_days` ago. With 0
/// they are kept for ever, and this returns; else it never does.
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
