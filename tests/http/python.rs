//! The Python interpreter for clients: `AUTODIDACT_PYTHON`, or the one in `.venv`, where `make test` installs the
//! clients' packages.

use std::path::PathBuf;
use tokio::process::Command;

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs a script of this repository; fails with what it says if it fails.
pub async fn run(script: &str, arguments: &[&str]) -> String {
    let named = std::env::var_os("AUTODIDACT_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| PathBuf::from(ROOT).join(".venv/bin/python"));
    assert!(
        python.exists(),
        "There is no Python at {}: run `make test`, which makes .venv, or name an interpreter that has \
         the `openai` and `mcp` packages in AUTODIDACT_PYTHON.",
        python.display()
    );
    let mut command = Command::new(&python);
    command.arg(format!("{ROOT}/{script}")).args(arguments);
    let output = command.kill_on_drop(true).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    said
}
