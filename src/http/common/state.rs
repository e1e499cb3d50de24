//! What every handler shares.

use super::auth::Access;
use super::error::Problem;
use crate::adapters::Registry;
use crate::config::Config;
use crate::http::openai::routing::Routers;
use crate::jobs::Jobs;
use crate::learn::options::precedence::SettingsStack;
use crate::store::Store;
use autodidact_engine::Engine;
use std::sync::Arc;

/// The rooms below, and the rules of this server. Cloning shares them.
#[derive(Clone)]
pub struct AppState {
    pub store: Store,
    pub jobs: Jobs,
    pub registry: Arc<Registry>,
    pub engine: Engine,
    pub config: Arc<Config>,
    /// The learning settings under a request's.
    pub learning: SettingsStack,
    pub access: Arc<Access>,
    pub routers: Arc<Routers>,
    /// Unix seconds: the base model's `created`.
    pub started: i64,
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
            store: jobs.store().clone(),
            jobs,
            registry,
            engine,
            access: Arc::new(Access::from_config(&config.auth.keys)?),
            routers: Arc::default(),
            config,
            learning,
            started: jiff::Timestamp::now().as_second(),
        })
    }

    /// Runs what blocks (the disk, a tokenizer over a long text) away from the threads that serve
    /// connections.
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
