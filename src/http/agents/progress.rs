//! Tells the caller of a tool how far the work is, if the call has a progress token.

use crate::store::{Job, JobState};
use rmcp::RoleServer;
use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::service::{Peer, RequestContext};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

/// The protocol wants every notification to tell more progress than the one before.
const SMALLEST: f64 = 1e-6;

pub struct Reporter {
    peer: Peer<RoleServer>,
    /// Without a token the caller does not want to know.
    token: Option<ProgressToken>,
    /// Longest time between two notifications.
    pub every: Duration,
    told: Option<f64>,
}

impl Reporter {
    pub fn new(context: &RequestContext<RoleServer>, every: Duration) -> Self {
        Reporter {
            peer: context.peer.clone(),
            token: context.meta.get_progress_token(),
            every,
            told: None,
        }
    }

    /// Tells the state of a job: its done fraction of 1.
    pub async fn job(&mut self, job: &Job) {
        let progress = &job.progress;
        let fraction = match job.state {
            JobState::Succeeded => 1.0,
            _ => (f64::from(progress.fraction) / SMALLEST).round() * SMALLEST,
        };
        let message = match job.state {
            JobState::Running if !progress.message.is_empty() => progress.message.clone(),
            JobState::Running if !progress.stage.is_empty() => progress.stage.clone(),
            state => state.as_str().to_owned(),
        };
        self.tell(fraction, Some(1.0), message).await;
    }

    /// Waits for work of unknown length, and counts the notifications as progress.
    pub async fn during<T>(&mut self, message: &str, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let next = self.told.map_or(0.0, |told| told + 1.0);
            self.tell(next, None, message.to_owned()).await;
            if let Ok(result) = tokio::time::timeout(self.every, &mut work).await {
                return result;
            }
        }
    }

    async fn tell(&mut self, progress: f64, total: Option<f64>, message: String) {
        let Some(token) = &self.token else { return };
        let least = self.told.map_or(0.0, |told| told + SMALLEST);
        let progress = progress.max(least);
        self.told = Some(progress);
        let mut notice = ProgressNotificationParam::new(token.clone(), progress);
        notice.total = total;
        // A caller that has gone away stops its call by itself.
        let _ = self
            .peer
            .notify_progress(notice.with_message(message))
            .await;
    }
}
