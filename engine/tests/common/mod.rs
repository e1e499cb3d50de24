//! What the integration tests share. The checks here take any executor: what holds for the reference must
//! hold for every other, within its own tolerance.

pub mod gradients;
pub mod logits;
pub mod packing;
pub mod wrapped;

use autodidact_engine::reference::Reference;
use autodidact_engine::tiny::write_tiny;
use autodidact_engine::{
    Cpu, CpuOptions, Executor, Family, Lora, LoraConfig, ModelConfig, ModelFiles, Precision,
};
use std::path::PathBuf;
use std::sync::Arc;

/// Whether the processor multiplies bf16 itself.
pub fn multiplies_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

pub const FAMILIES: [Family; 3] = [Family::Llama, Family::Qwen2, Family::Qwen3];

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

pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// A tiny random model of the family.
pub fn tiny(family: Family) -> ModelFiles {
    let dir = tempfile::tempdir().unwrap();
    write_tiny(dir.path(), family, 7).unwrap();
    ModelFiles::open(dir.path()).unwrap()
}

pub fn reference(files: &ModelFiles) -> Reference {
    Reference::new(files, &candle_core::Device::Cpu).unwrap()
}

pub fn cpu(files: &ModelFiles, precision: Precision) -> Cpu {
    let options = CpuOptions {
        threads: 2,
        precision,
    };
    Cpu::new(files, options).unwrap()
}

/// On all seven linear layers, A and B random.
pub fn random_lora(config: &ModelConfig, rank: usize, alpha: f32, seed: u64) -> Arc<Lora> {
    Arc::new(Lora::random(
        LoraConfig::all_linear(rank, alpha),
        config,
        seed,
    ))
}

/// `n` tokens that repeat nothing in an obvious way.
pub fn some_tokens(n: usize, seed: usize, executor: &dyn Executor) -> Vec<u32> {
    let vocab = executor.config().vocab_size;
    (0..n)
        .map(|i| ((i * i * 31 + i * 17 + seed * 101 + 5) % vocab) as u32)
        .collect()
}

#[track_caller]
pub fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}: lengths differ");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(
            (a - e).abs() <= tolerance,
            "{what}: entry {i} is {a}, expected {e} within {tolerance}"
        );
    }
}
