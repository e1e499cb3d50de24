//! Writes an adapter for a model as PEFT files, and the logits that this engine computes with it, for
//! `bench/peers/check_peft.py`. Where the model is a GGUF file, the adapter is also written as a GGUF LoRA
//! (`lora.gguf`) and merged into the model (`merged-f16.gguf`, `merged-q8_0.gguf`), for `bench/peers/check_gguf.py`.
//! The adapter is read from PEFT files if their directory is given, and random otherwise:
//!
//! ```text
//! cargo run --example export_adapter -- MODEL OUT_DIR [ADAPTER_DIR]
//! ```

use autodidact_engine::lora::{peft, to_gguf};
use autodidact_engine::weights::{GgufType, Merged};
use autodidact_engine::{
    Cpu, CpuOptions, Executor, Lora, LoraConfig, ModelFiles, PackedBatch, Precision,
};
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(model), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: export_adapter MODEL OUT_DIR [ADAPTER_DIR]".into());
    };
    let files = ModelFiles::open(&model)?;
    let (saved, lora) = match arguments.next() {
        Some(directory) => {
            let saved = peft::load_dir(&directory)?;
            let lora = peft::from_files(&saved.config_json, &saved.safetensors, &files.config)?;
            (saved, lora)
        }
        None => {
            let lora = Lora::random(LoraConfig::all_linear(8, 16.0), &files.config, 1);
            (peft::to_files(&lora, &model.to_string_lossy()), lora)
        }
    };
    peft::save_dir(&out, &saved)?;
    if model.is_file() {
        write_gguf(&files, &lora, &out)?;
    }

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

fn write_gguf(files: &ModelFiles, lora: &Lora, out: &Path) -> Result<(), Box<dyn Error>> {
    match to_gguf(lora, &files.config, "exported") {
        Ok(bytes) => std::fs::write(out.join("lora.gguf"), bytes)?,
        Err(error) => println!("no lora.gguf: {error}"),
    }
    for (name, kind) in [("f16", GgufType::F16), ("q8_0", GgufType::Q8_0)] {
        let merged = match Merged::new(files, lora, kind) {
            Ok(merged) => merged,
            Err(error) => {
                println!("no merged file: {error}");
                break;
            }
        };
        let file = File::create(out.join(format!("merged-{name}.gguf")))?;
        merged.write(&mut BufWriter::new(file))?;
    }
    Ok(())
}
