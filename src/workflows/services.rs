//! The parts of the server that the workflows need to admit a request.

use super::refusal::Refusal;
use crate::adapters::Registry;
use crate::config::Config;
use crate::jobs::Jobs;
use crate::learn::options::precedence::SettingsStack;
use crate::store::{Job, Store};
use autodidact_engine::Engine;
use std::sync::Arc;
use std::time::Duration;

/// The rooms below, and the settings of this server. Clones share them.
#[derive(Clone)]
pub struct Services {
    pub store: Store,
    pub jobs: Jobs,
    pub registry: Arc<Registry>,
    /// The engine. Its tokenizer and its window decide which inputs are too long.
    pub engine: Engine,
    pub config: Arc<Config>,
    /// The learning settings that a request may override.
    pub learning: SettingsStack,
}

impl Services {
    /// Submits a job on a thread that may block. Then waits for the job's end for at most `patience`, if given; the
    /// job may still run afterwards.
    pub async fn submit_and_wait<E>(
        &self,
        submit: impl FnOnce(&Services) -> Result<Job, E> + Send + 'static,
        patience: Option<Duration>,
    ) -> Result<Job, E>
    where
        E: From<Refusal> + Send + 'static,
    {
        let services = self.clone();
        let submitted = tokio::task::spawn_blocking(move || submit(&services)).await;
        let job = submitted.map_err(Refusal::internal)??;
        match patience {
            None => Ok(job),
            Some(patience) => Ok(self
                .jobs
                .wait(&job.id, patience)
                .await
                .map_err(Refusal::from)?),
        }
    }
}
