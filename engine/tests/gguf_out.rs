//! Adapters as GGUF LoRA, and merged into GGUF files. The bases are written by `bench/peers/make_tiny_gguf.py`, the
//! adapters and their logits are PEFT's (`bench/peers/record_peft_variants.py`).

use crate::common::{assert_close, cpu, fixture};
use autodidact_engine::lora::{peft, to_gguf};
use autodidact_engine::weights::{GgufType, Merged};
use autodidact_engine::{Executor, Lora, LoraConfig, ModelFiles, PackedBatch, Precision};
use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

fn base(family: &str) -> ModelFiles {
    ModelFiles::open(&fixture(&format!("gguf_tiny/{family}.gguf"))).unwrap()
}

/// An adapter of PEFT's, its base's family, and the tokens and last rows of logits that were recorded.
fn recorded(name: &str) -> (Lora, ModelFiles, Vec<u32>, Vec<f32>) {
    let directory = fixture("peft_variants").join(name);
    let expected = std::fs::read(directory.join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let files = base(expected["base"].as_str().unwrap());
    let read = peft::load_dir(&directory).unwrap();
    let lora = peft::from_files(&read.config_json, &read.safetensors, &files.config).unwrap();
    let tokens = serde_json::from_value(expected["tokens"].clone()).unwrap();
    let logits = serde_json::from_value(expected["logits"].clone()).unwrap();
    (lora, files, tokens, logits)
}

fn logits(files: &ModelFiles, tokens: &[u32], last: usize) -> Vec<f32> {
    let mut batch = PackedBatch::new();
    batch.push(tokens, 0, None, &[]);
    let rows: Vec<usize> = (tokens.len() - last..tokens.len()).collect();
    cpu(files, Precision::F32).forward(&batch, &rows).unwrap()
}

fn merged(files: &ModelFiles, lora: &Lora, kind: GgufType, path: &Path) -> ModelFiles {
    let plan = Merged::new(files, lora, kind).unwrap();
    let mut bytes = Vec::new();
    plan.write(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, plan.len());
    std::fs::write(path, bytes).unwrap();
    ModelFiles::open(path).unwrap()
}

/// The share of the difference in the wanted values.
fn share(got: &[f32], want: &[f32]) -> f32 {
    let squares = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>();
    let difference = squares(&mut got.iter().zip(want).map(|(x, y)| x - y));
    (difference / squares(&mut want.iter().copied())).sqrt()
}

#[test]
fn merged_files_compute_what_peft_computes() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("merged.gguf");
    for name in [
        "patterns",
        "rslora_patterns",
        "dora",
        "dora_patterns",
        "tables",
        "tied_embedding",
        "tied_both",
        "tied_head",
        "whole",
        "tied_whole",
        "converted_lokr",
        "converted_pissa",
    ] {
        let (lora, files, tokens, want) = recorded(name);
        let last = want.len() / files.config.vocab_size;
        for (kind, most) in [(GgufType::F16, 2e-3), (GgufType::Q8_0, 8e-2)] {
            let merged = merged(&files, &lora, kind, &path);
            let got = logits(&merged, &tokens, last);
            let share = share(&got, &want);
            assert!(share < most, "{name} in {kind:?}: off by {share}");
            // What is not a weight is as it was.
            assert_eq!(merged.eos, files.eos);
            assert_eq!(merged.tokenizer.vocab_size(), files.tokenizer.vocab_size());
            let ids = files.tokenizer.encode("!!A").unwrap();
            assert_eq!(merged.tokenizer.encode("!!A").unwrap(), ids);
        }
    }
}

fn content(bytes: &[u8]) -> (Content, BTreeMap<String, Vec<f32>>) {
    let mut cursor = Cursor::new(bytes);
    let content = Content::read(&mut cursor).unwrap();
    let names: Vec<String> = content.tensor_infos.keys().cloned().collect();
    let mut tensors = BTreeMap::new();
    for name in names {
        let tensor = content.tensor(&mut cursor, &name, &Device::Cpu).unwrap();
        let values = tensor
            .dequantize(&Device::Cpu)
            .unwrap()
            .flatten_all()
            .unwrap();
        tensors.insert(name, values.to_vec1().unwrap());
    }
    (content, tensors)
}

/// `alpha / rank · B · A`, as llama.cpp computes it from the file.
fn product(a: &[f32], b: &[f32], alpha: f32, rank: usize) -> Vec<f32> {
    let inputs = a.len() / rank;
    let row = |row: &[f32], i: usize| (0..rank).map(|r| row[r] * a[r * inputs + i]).sum::<f32>();
    let rows = b.chunks_exact(rank);
    let all = rows.flat_map(|b| (0..inputs).map(move |i| row(b, i)).collect::<Vec<_>>());
    all.map(|x| alpha / rank as f32 * x).collect()
}

/// In the base file's own order of rows, base plus correction is the merged file.
#[test]
fn a_gguf_lora_corrects_the_base_files_own_rows() {
    for name in ["patterns", "rslora_patterns", "tables", "tables_rslora"] {
        let (lora, files, ..) = recorded(name);
        let (adapter, parts) = content(&to_gguf(&lora, &files.config, "kb").unwrap());
        let text = |key: &str| adapter.metadata[key].to_string().unwrap().clone();
        assert_eq!(text("general.type"), "adapter");
        assert_eq!(text("adapter.type"), "lora");
        let (before, base) = content(&std::fs::read(&files.path).unwrap());
        let arch = before.metadata["general.architecture"].to_string().unwrap();
        assert_eq!(&text("general.architecture"), arch);
        let Value::F32(alpha) = adapter.metadata["adapter.lora.alpha"] else {
            panic!("alpha is not f32")
        };
        let mut bytes = Vec::new();
        let plan = Merged::new(&files, &lora, GgufType::F16).unwrap();
        plan.write(&mut bytes).unwrap();
        let (_, merged) = content(&bytes);
        let mut corrected = 0;
        for (tensor, weight) in &base {
            let part = |kind: &str| parts.get(&format!("{tensor}.{kind}"));
            let Some((a, b)) = part("lora_a").zip(part("lora_b")) else {
                continue;
            };
            corrected += 1;
            let dims = adapter.tensor_infos[&format!("{tensor}.lora_b")]
                .shape
                .dims();
            let rank = dims[1];
            let correction = match tensor == "token_embd.weight" {
                // There A is [vocab, rank] and B [hidden, rank].
                true => {
                    let hidden = b.len() / rank;
                    let b: Vec<f32> = (0..rank)
                        .flat_map(|r| (0..hidden).map(move |h| (h, r)))
                        .map(|(h, r)| b[h * rank + r])
                        .collect();
                    product(&b, a, alpha, rank)
                }
                false => product(a, b, alpha, rank),
            };
            let sum: Vec<f32> = weight.iter().zip(&correction).map(|(w, c)| w + c).collect();
            assert_close(&format!("{name} {tensor}"), &merged[tensor], &sum, 2e-3);
        }
        assert_eq!(corrected * 2, parts.len(), "{name}");
    }
}

#[test]
fn what_a_file_has_no_place_for_is_named() {
    let refused = |name: &str| {
        let (lora, files, ..) = recorded(name);
        to_gguf(&lora, &files.config, "kb").unwrap_err().to_string()
    };
    assert!(refused("dora").contains("use_dora"));
    assert!(refused("lora_bias").contains("lora_bias"));
    assert!(refused("whole").contains("a whole table of embed_tokens"));
    assert!(refused("tied_embedding").contains("a pair of embed_tokens"));
    assert!(refused("tied_head").contains("a pair of lm_head"));

    let (lora, files, ..) = recorded("lora_bias");
    let error = Merged::new(&files, &lora, GgufType::F16)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("lora_bias") && error.contains("k_proj.bias"),
        "{error}"
    );

    let directory = ModelFiles::open(&fixture("peft_tiny/llama")).unwrap();
    let plain = Lora::random(LoraConfig::all_linear(2, 4.0), &directory.config, 1);
    let error = Merged::new(&directory, &plain, GgufType::F16)
        .err()
        .unwrap();
    assert!(
        error.to_string().contains("Hugging Face directory"),
        "{error}"
    );
}
