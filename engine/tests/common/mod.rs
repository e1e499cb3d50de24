//! What the integration tests share.

use std::path::PathBuf;

/// A model's file: in `$AUTODIDACT_MODELS`, or else `~/.cache/autodidact/models`. A missing file fails the
/// test: skipping would look like passing.
pub fn model_path(file: &str) -> PathBuf {
    let models = std::env::var_os("AUTODIDACT_MODELS")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"))?;
            Some(PathBuf::from(home).join(".cache/autodidact/models"))
        });
    let path = models.expect("set AUTODIDACT_MODELS or HOME").join(file);
    let name = match file {
        "SmolLM2-135M-Instruct.Q4_1.gguf" => "smollm2-135m-instruct",
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf" => "qwen2.5-coder-0.5b-instruct",
        other => other,
    };
    assert!(
        path.exists(),
        "{} is missing: run `autodidact model fetch {name}`",
        path.display()
    );
    path
}
