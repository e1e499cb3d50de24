//! The state that all handlers share.

use super::auth::Access;
use super::error::Problem;
use super::sse::HEARTBEAT;
use super::upload::Uploads;
use crate::adapters::Registry;
use crate::config::Config;
use crate::jobs::Jobs;
use crate::learn::options::precedence::SettingsStack;
use crate::workflows::services::Services;
use autodidact_engine::Engine;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// The services of the workflows, and the state of HTTP itself. Clones share all of it.
#[derive(Clone)]
pub struct AppState {
    services: Services,
    pub access: Arc<Access>,
    pub uploads: Uploads,
    /// Start of the server in Unix seconds, which is the base model's `created`.
    pub started: i64,
    /// The time of silence after which a stream of events, or an agent's call, shows that it is alive.
    pub heartbeat: Duration,
}

/// `state.jobs` is short for `state.services.jobs`.
impl Deref for AppState {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.services
    }
}

impl AppState {
    /// Fails if one of the configured keys is not a digest.
    pub fn new(
        config: Arc<Config>,
        engine: Engine,
        jobs: Jobs,
        registry: Arc<Registry>,
        learning: SettingsStack,
    ) -> Result<Self, String> {
        Ok(AppState {
            access: Arc::new(Access::from_config(&config.auth.keys)?),
            uploads: Uploads::default(),
            services: Services {
                store: jobs.store().clone(),
                jobs,
                registry,
                engine,
                config,
                learning,
            },
            started: chrono::Utc::now().timestamp(),
            heartbeat: HEARTBEAT,
        })
    }

    /// Runs blocking work (the disk, a tokenizer over a long text) away from the threads that serve connections.
    pub async fn blocking<T, E>(
        &self,
        work: impl FnOnce(&AppState) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let state = self.clone();
        match tokio::task::spawn_blocking(move || work(&state)).await {
            Ok(result) => result.map_err(Into::into),
            Err(error) => Err(Problem::internal(error)),
        }
    }
}
