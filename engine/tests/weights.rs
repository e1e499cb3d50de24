//! Model files: the real GGUFs, tiny Hugging Face directories, and what is refused.

use crate::common;
use autodidact_engine::tiny::{tiny_config, write_tiny};
use autodidact_engine::weights::tensors_of;
use autodidact_engine::{Family, ModelFiles};
use rayon::prelude::*;
use serde_json::{Value, json};
use std::path::Path;

/// Values that Python's `gguf` package or transformers read from the same files (bench/peers/record_tokens.py).
fn check_recorded(file: &str, fixture: &str) {
    let files = ModelFiles::open(&common::model_path(file)).unwrap();
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    assert_eq!(files.digest, fixture["digest"].as_str().unwrap());
    let recorded = fixture["tensors"].as_array().unwrap();
    assert!(recorded.len() >= 5);
    for tensor in recorded {
        let name = tensor["name"].as_str().unwrap();
        let ours = files.tensor(name).unwrap();
        assert_eq!(json!(ours.shape), tensor["shape"], "{name}");
        for value in tensor["values"].as_array().unwrap() {
            let index = value[0].as_u64().unwrap() as usize;
            let expected = value[1].as_f64().unwrap() as f32;
            assert!(
                (ours.data[index] - expected).abs() <= 1e-6 * expected.abs().max(1e-3),
                "{name}[{index}] is {}, gguf reads {expected}",
                ours.data[index]
            );
        }
    }
}

#[test]
fn smollm2_weights_are_as_python_reads_them() {
    check_recorded(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        include_str!("fixtures/tokens_smollm2-135m-instruct.json"),
    );
}

#[test]
fn qwen_weights_are_as_python_reads_them() {
    check_recorded(
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        include_str!("fixtures/tokens_qwen2.5-coder-0.5b-instruct.json"),
    );
}

#[test]
fn smollm2_opens_with_its_published_shape() {
    let files = ModelFiles::open(&common::model_path("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    let c = &files.config;
    assert_eq!(c.family, Family::Llama);
    assert_eq!(
        (c.vocab_size, c.hidden_size, c.intermediate_size),
        (49152, 576, 1536)
    );
    assert_eq!(
        (c.num_layers, c.num_heads, c.num_kv_heads, c.head_dim),
        (30, 9, 3, 64)
    );
    assert!(c.tie_word_embeddings && !c.qkv_bias && !c.qk_norm && c.rope_scaling.is_none());
    assert_eq!((c.rope_theta, c.max_position), (100_000.0, 8192));
    assert_eq!(files.eos[0], 2);
    assert_eq!(files.bos, None);
    assert!(!files.has("lm_head.weight"));
}

#[test]
fn every_tensor_of_a_real_model_is_finite_from_many_threads() {
    let files = ModelFiles::open(&common::model_path("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    tensors_of(&files.config)
        .par_iter()
        .for_each(|(name, shape)| {
            let tensor = files.tensor(name).unwrap();
            assert_eq!(&tensor.shape, shape);
            assert!(tensor.data.iter().all(|v| v.is_finite()), "{name}");
            assert!(tensor.data.iter().any(|v| *v != 0.0), "{name}");
        });
}

#[test]
fn tiny_models_open_and_repeat() {
    for family in [Family::Llama, Family::Qwen2, Family::Qwen3] {
        let dirs = [(); 3].map(|_| tempfile::tempdir().unwrap());
        for (dir, seed) in dirs.iter().zip([1, 1, 2]) {
            write_tiny(dir.path(), family, seed).unwrap();
        }
        let [a, same, other] = dirs.each_ref().map(|d| ModelFiles::open(d.path()).unwrap());
        assert_eq!(a.config, tiny_config(family));
        assert_eq!(a.digest, same.digest);
        assert_ne!(a.digest, other.digest);
        assert_eq!(a.tokenizer.token_text(a.eos[0]), "<|im_end|>");
        assert_eq!(
            a.has("model.layers.1.self_attn.k_proj.bias"),
            family == Family::Qwen2
        );
        assert_eq!(
            a.has("model.layers.1.self_attn.k_norm.weight"),
            family == Family::Qwen3
        );
        assert_eq!(a.tokenizer.vocab_size(), a.config.vocab_size);
    }
}

/// A tiny model with its `config.json` changed.
fn refused(change: impl Fn(&mut Value, &Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    write_tiny(dir.path(), Family::Llama, 1).unwrap();
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut config, dir.path());
    std::fs::write(&path, config.to_string()).unwrap();
    ModelFiles::open(dir.path())
        .err()
        .expect("must be refused")
        .to_string()
}

#[test]
fn what_would_be_computed_wrong_is_refused_by_name() {
    for (key, value, says) in [
        ("model_type", json!("mamba"), "\"mamba\" is not supported"),
        (
            "quantization_config",
            json!({"bits": 4}),
            "quantization_config",
        ),
        ("hidden_act", json!("gelu"), "hidden_act"),
        ("attention_bias", json!(true), "attention_bias"),
        (
            "rope_scaling",
            json!({"rope_type": "yarn", "factor": 4.0}),
            "\"yarn\"",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "llama3", "factor": 8.0}),
            "low_freq_factor",
        ),
        ("hidden_size", json!(0), "hidden_size"),
        ("num_hidden_layers", json!(3), "model.layers.2."),
        (
            "intermediate_size",
            json!(96),
            "the configuration says [96, 64]",
        ),
        ("tie_word_embeddings", json!(false), "lm_head.weight"),
    ] {
        let error = refused(|config, _| config[key] = value.clone());
        assert!(error.contains(says), "{key}: {error}");
    }
}

#[test]
fn pickled_missing_and_damaged_weights_are_refused() {
    let pickled = refused(|_, dir| {
        std::fs::rename(dir.join("model.safetensors"), dir.join("pytorch_model.bin")).unwrap();
    });
    assert!(pickled.contains("convert them to safetensors"), "{pickled}");
    let cut = refused(|_, dir| {
        let path = dir.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
    });
    assert!(cut.contains("not a readable safetensors file"), "{cut}");
    let dir = tempfile::tempdir().unwrap();
    let empty = ModelFiles::open(dir.path()).err().unwrap().to_string();
    assert!(empty.contains("config.json"), "{empty}");
    let stray = dir.path().join("model.gguf");
    std::fs::write(&stray, b"not a model at all").unwrap();
    let stray = ModelFiles::open(&stray).err().unwrap().to_string();
    assert!(stray.contains("not a readable GGUF"), "{stray}");
}

#[test]
fn a_gguf_that_was_cut_off_is_refused() {
    let whole = std::fs::read(common::model_path("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.gguf");
    std::fs::write(&path, &whole[..whole.len() - 1000]).unwrap();
    let error = ModelFiles::open(&path).err().unwrap().to_string();
    assert!(error.contains("is cut off"), "{error}");
}

#[test]
fn llama3_scaling_and_shards_are_read() {
    let dir = tempfile::tempdir().unwrap();
    write_tiny(dir.path(), Family::Llama, 1).unwrap();
    let whole = ModelFiles::open(dir.path()).unwrap();
    let path = dir.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["rope_scaling"] = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
    std::fs::write(&path, config.to_string()).unwrap();

    // Two bf16 shards and their index instead of the one f32 file.
    let names: Vec<String> = tensors_of(&whole.config)
        .into_iter()
        .map(|(n, _)| n)
        .collect();
    let mut map = serde_json::Map::new();
    for (i, part) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let file = format!("model-0000{}-of-00002.safetensors", i + 1);
        let data: Vec<(String, Vec<usize>, Vec<u8>)> = part
            .iter()
            .map(|n| {
                let t = whole.tensor(n).unwrap();
                let bytes = t
                    .data
                    .iter()
                    .flat_map(|v| half::bf16::from_f32(*v).to_le_bytes())
                    .collect();
                (n.clone(), t.shape, bytes)
            })
            .collect();
        let views = data.iter().map(|(n, shape, bytes)| {
            map.insert(n.clone(), file.clone().into());
            (
                n,
                safetensors::tensor::TensorView::new(
                    safetensors::Dtype::BF16,
                    shape.clone(),
                    bytes,
                )
                .unwrap(),
            )
        });
        std::fs::write(
            dir.path().join(&file),
            safetensors::serialize(views, None).unwrap(),
        )
        .unwrap();
    }
    std::fs::write(
        dir.path().join("model.safetensors.index.json"),
        json!({"weight_map": map}).to_string(),
    )
    .unwrap();
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let sharded = ModelFiles::open(dir.path()).unwrap();
    assert_eq!(sharded.config.rope_scaling.as_ref().unwrap().factor, 8.0);
    for name in &names {
        let (a, b) = (whole.tensor(name).unwrap(), sharded.tensor(name).unwrap());
        assert_eq!(a.shape, b.shape);
        for (a, b) in a.data.iter().zip(&b.data) {
            assert!((a - b).abs() <= a.abs() / 256.0, "{name}: {a} became {b}");
        }
    }
    std::fs::remove_file(dir.path().join("model-00002-of-00002.safetensors")).unwrap();
    let error = ModelFiles::open(dir.path()).err().unwrap().to_string();
    assert!(
        error.contains("the index names model-00002-of-00002.safetensors"),
        "{error}"
    );
}
