//! What every handler shares.

use super::auth::Access;
use super::error::Problem;
use crate::adapters::Registry;
use crate::config::Config;
use crate::jobs::Jobs;
use crate::learn::options::precedence::SettingsStack;
use crate::workflows::services::Services;
use autodidact_engine::Engine;
use std::ops::Deref;
use std::sync::Arc;

/// What the workflows need, and what only HTTP needs. Cloning shares all of it.
#[derive(Clone)]
pub struct AppState {
    services: Services,
    pub access: Arc<Access>,
    /// Unix seconds: the base model's `created`.
    pub started: i64,
}

/// `state.jobs` is `state.services.jobs`: a handler reads one state.
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
            services: Services {
                store: jobs.store().clone(),
                jobs,
                registry,
                engine,
                config,
                learning,
            },
            started: chrono::Utc::now().timestamp(),
        })
    }

    /// Runs work that blocks (the disk, a tokenizer over a long text) away from the threads that serve connections.
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
