//! Opening a model: its files give an executor, and the executor gives an engine.

use crate::config::ExecutorKind;
use autodidact_engine::cpu::{Cpu, CpuOptions};
use autodidact_engine::reference::Reference;
use autodidact_engine::scheduler::{Engine, EngineOptions};
use autodidact_engine::{Executor, ModelFiles, Result};
use std::path::Path;
use std::sync::Arc;

/// Opens the model's files and an executor for them, for callers that need no scheduler. `threads`: CPU threads;
/// `None`: the executor's default.
pub fn open_executor(
    path: &Path,
    executor: ExecutorKind,
    threads: Option<usize>,
) -> Result<(Arc<ModelFiles>, Box<dyn Executor>)> {
    let files = Arc::new(ModelFiles::open(path)?);
    let executor: Box<dyn Executor> = match executor {
        ExecutorKind::Auto | ExecutorKind::Cpu => {
            let mut options = CpuOptions::default();
            options.threads = threads.unwrap_or(options.threads);
            Box::new(Cpu::new(&files, options)?)
        }
        ExecutorKind::Reference => {
            let device = autodidact_engine::reference::device()?;
            Box::new(Reference::new(&files, &device)?)
        }
    };
    Ok((files, executor))
}

/// Opens the model and starts an engine on it. `threads`: as for [`open_executor`].
pub fn open_engine(
    path: &Path,
    executor: ExecutorKind,
    threads: Option<usize>,
    options: EngineOptions,
) -> Result<Engine> {
    let (files, executor) = open_executor(path, executor, threads)?;
    Ok(Engine::start(files, executor, options))
}
