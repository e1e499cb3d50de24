//! The official Python client, in its own process.
//!
//! The interpreter is `AUTODIDACT_PYTHON`, or that of `.venv`, where `make test` installs the package.

use crate::common::{BASE, Server};
use autodidact::store::digest;
use std::path::PathBuf;
use tokio::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[tokio::test]
async fn the_python_package_is_served() {
    let named = std::env::var_os("AUTODIDACT_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| PathBuf::from(ROOT).join(".venv/bin/python"));
    assert!(
        python.exists(),
        "There is no Python at {}: run `make test`, which makes .venv, or name an interpreter that has \
         the `openai` package in AUTODIDACT_PYTHON.",
        python.display()
    );
    let server = Server::with(|config| config.auth.keys = vec![digest(b"sk-test")]).await;
    let url = format!("{}/v1", server.url);
    let mut command = Command::new(&python);
    command.arg(format!("{ROOT}/tests/openai_client.py"));
    command
        .args([url.as_str(), "sk-test", BASE])
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
