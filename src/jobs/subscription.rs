//! A live stream of a job's events, without gaps and without duplicates.

use super::{Jobs, Result};
use crate::store::Event;
use futures::Stream;
use tokio::sync::watch;

/// Number of events in one read.
const BATCH: usize = 256;

pub struct Subscription {
    jobs: Jobs,
    job_id: String,
    /// Number of the last event handed out.
    seq: u64,
    wake: watch::Receiver<()>,
}

impl Subscription {
    pub(super) fn new(jobs: Jobs, job_id: &str, since: u64) -> Self {
        let wake = jobs.shared.subscribers.subscribe(job_id);
        Subscription {
            jobs,
            job_id: job_id.into(),
            seq: since,
            wake,
        }
    }

    /// The next events, at least one; `None` after the terminal one.
    pub async fn next(&mut self) -> Result<Option<Vec<Event>>> {
        loop {
            // Mark as seen before the read, so that an event during the read wakes us again.
            self.wake.borrow_and_update();
            let (ended, events) = self.read().await?;
            if let Some(last) = events.last() {
                self.seq = last.seq;
                return Ok(Some(events));
            }
            if ended || self.wake.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// The events as a stream, one at a time.
    pub fn into_stream(self) -> impl Stream<Item = Result<Event>> + Send {
        let start = (self, Vec::new().into_iter());
        futures::stream::try_unfold(start, async |(mut subscription, mut batch)| {
            loop {
                if let Some(event) = batch.next() {
                    return Ok(Some((event, (subscription, batch))));
                }
                match subscription.next().await? {
                    Some(events) => batch = events.into_iter(),
                    None => return Ok(None),
                }
            }
        })
    }

    async fn read(&self) -> Result<(bool, Vec<Event>)> {
        let (jobs, id, seq) = (self.jobs.clone(), self.job_id.clone(), self.seq);
        tokio::task::spawn_blocking(move || {
            // Read the state first. An ended job has all its events, so none can come after this read.
            let ended = jobs.get(&id)?.state.is_terminal();
            let events = jobs.store().events().since(&id, seq, BATCH)?;
            Ok((ended, events))
        })
        .await?
    }
}
