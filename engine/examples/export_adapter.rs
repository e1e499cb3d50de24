//! Writes a random adapter for a model directory as PEFT files, and the logits this engine computes
//! with it, for `bench/peers/check_peft.py`:
//!
//! ```text
//! cargo run --example export_adapter -- MODEL_DIR OUT_DIR
//! ```

use autodidact_engine::lora::peft;
use autodidact_engine::{
    Cpu, CpuOptions, Executor, Lora, LoraConfig, ModelFiles, PackedBatch, Precision,
};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(model), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: export_adapter MODEL_DIR OUT_DIR".into());
    };
    let files = ModelFiles::open(&model)?;
    let lora = Lora::random(LoraConfig::all_linear(8, 16.0), &files.config, 1);
    peft::save_dir(&out, &peft::to_files(&lora, &model.to_string_lossy()))?;

    let vocab = files.config.vocab_size as u32;
    let tokens: Vec<u32> = (0..16).map(|i| (i * i * 31 + i * 7 + 3) % vocab).collect();
    let mut batch = PackedBatch::new();
    batch.push(&tokens, 0, None, &[Arc::new(lora)]);
    let options = CpuOptions {
        threads: 1,
        precision: Precision::F32,
    };
    let rows: Vec<usize> = (0..tokens.len()).collect();
    let logits = Cpu::new(&files, options)?.forward(&batch, &rows)?;
    let record = serde_json::json!({"tokens": tokens, "logits": logits});
    std::fs::write(out.join("logits.json"), serde_json::to_vec(&record)?)?;
    Ok(())
}
