//! Which tensors of a file become the embedding and the output projection, as transformers decides it
//! (recorded by bench/peers/record_weights.py).

use autodidact_engine::tiny::write_tiny;
use autodidact_engine::{Cpu, CpuOptions, Error, Family, ModelFiles};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Map, Value, json};
use std::path::Path;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

type Stored = (String, Vec<usize>, Vec<f32>);

fn family(name: &str) -> Family {
    match name {
        "llama" => Family::Llama,
        "qwen2" => Family::Qwen2,
        _ => Family::Qwen3,
    }
}

/// A tiny model's tensors with a head that is not its embedding.
fn tensors(dir: &Path, family: Family) -> Vec<Stored> {
    write_tiny(dir, family, 1).unwrap();
    let files = ModelFiles::open(dir).unwrap();
    let names = autodidact_engine::weights::tensors_of(&files.config);
    let read = |(name, shape): (String, Vec<usize>)| {
        let data = files.tensor(&name).unwrap().data;
        (name, shape, data)
    };
    let mut all: Vec<Stored> = names.into_iter().map(read).collect();
    let (_, shape, data) = all.iter().find(|(name, ..)| name == EMBEDDING).unwrap();
    let head = (
        HEAD.to_owned(),
        shape.clone(),
        data.iter().map(|v| 1.0 - v).collect(),
    );
    all.push(head);
    all
}

fn write(dir: &Path, tensors: &[Stored], dtype: Dtype) {
    let bytes = |data: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F64 => data
                .iter()
                .flat_map(|v| f64::from(*v).to_le_bytes())
                .collect(),
            Dtype::F8_E4M3 => vec![0; data.len()],
            _ => data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    };
    let stored: Vec<_> = (tensors.iter())
        .map(|(name, shape, data)| (name, shape.clone(), bytes(data)))
        .collect();
    let views = stored
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    let file = safetensors::serialize(views, None).unwrap();
    std::fs::write(dir.join("model.safetensors"), file).unwrap();
}

fn configure(dir: &Path, change: impl FnOnce(&mut Map<String, Value>)) {
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(config.as_object_mut().unwrap());
    std::fs::write(path, config.to_string()).unwrap();
}

/// Writes the variant and opens it. Gives what became the embedding and the head.
fn outcome(case: &Value) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let mut all = tensors(dir.path(), family(case["family"].as_str().unwrap()));
    let table = |all: &[Stored], name: &str| all.iter().find(|t| t.0 == name).unwrap().2.clone();
    let (embedding, head) = (table(&all, EMBEDDING), table(&all, HEAD));
    match case["head"].as_str() {
        Some("same") => all
            .iter_mut()
            .filter(|t| t.0 == HEAD)
            .for_each(|t| t.2 = embedding.clone()),
        Some("none") => all.retain(|t| t.0 != HEAD),
        _ => {}
    }
    let dropped = |name: &str| {
        (name == EMBEDDING && case["embedding"] == false) || case["without"].as_str() == Some(name)
    };
    all.retain(|t| !dropped(&t.0));
    let prefix = case["prefix"].as_str().unwrap_or("model.");
    for (name, ..) in &mut all {
        *name = match name.strip_prefix("model.") {
            Some(rest) => format!("{prefix}{rest}"),
            None => format!("{}{name}", case["head_prefix"].as_str().unwrap_or("")),
        };
    }
    for name in case["extra"].as_array().into_iter().flatten() {
        all.push((name.as_str().unwrap().to_owned(), vec![4], vec![1.0; 4]));
    }
    let dtype = if case["dtype"] == "F64" {
        Dtype::F64
    } else {
        Dtype::F32
    };
    write(dir.path(), &all, dtype);
    configure(dir.path(), |config| {
        config.remove("tie_word_embeddings");
        if !case["tie"].is_null() {
            config.insert("tie_word_embeddings".into(), case["tie"].clone());
        }
    });
    let files = match ModelFiles::open(dir.path()) {
        Ok(files) => files,
        Err(Error::Model { .. }) => return json!("missing"),
        Err(other) => panic!("{other}"),
    };
    let used = match files.config.tie_word_embeddings {
        true => [EMBEDDING, EMBEDDING],
        false => [EMBEDDING, HEAD],
    };
    let [first, last] = used.map(|name| match files.tensor(name).unwrap().data {
        data if data == embedding => "embedding",
        data if data == head => "head",
        _ => "neither",
    });
    assert!(Cpu::new(&files, CpuOptions::default()).is_ok());
    json!({"embedding": first, "head": last})
}

#[test]
fn tables_are_tied_as_transformers_ties_them() {
    let recorded: Value = serde_json::from_str(include_str!("fixtures/weights.json")).unwrap();
    let cases = recorded["cases"].as_array().unwrap();
    assert!(cases.len() >= 60);
    for case in cases {
        assert_eq!(
            outcome(case),
            case["outcome"],
            "{} ({})",
            case["name"],
            case["family"]
        );
    }
}

fn opened(change: impl FnOnce(&mut Map<String, Value>)) -> Result<ModelFiles, String> {
    let dir = tempfile::tempdir().unwrap();
    write_tiny(dir.path(), Family::Llama, 1).unwrap();
    configure(dir.path(), change);
    ModelFiles::open(dir.path()).map_err(|e| e.to_string())
}

#[test]
fn settings_that_change_the_computation_are_refused_by_name() {
    let cases = [
        ("tie_word_embeddings", json!("yes"), "tie_word_embeddings"),
        (
            "layer_types",
            json!(["full_attention", "sliding_attention"]),
            "sliding_attention",
        ),
        ("partial_rotary_factor", json!(0.5), "partial_rotary_factor"),
        (
            "rope_parameters",
            json!({"rope_type": "linear", "factor": 2.0}),
            "\"linear\"",
        ),
        (
            "rope_scaling",
            json!({"type": "dynamic", "factor": 2.0}),
            "\"dynamic\"",
        ),
        (
            "rope_scaling",
            json!({"rope_type": "longrope"}),
            "\"longrope\"",
        ),
        (
            "rope_parameters",
            json!({"rope_type": "default", "partial_rotary_factor": 0.25}),
            "partial_rotary_factor",
        ),
        ("head_dim", json!(32), "has shape"),
    ];
    for (key, value, says) in cases {
        let error = opened(|config| drop(config.insert(key.into(), value))).err();
        let error = error.unwrap_or_else(|| panic!("{key} must be refused"));
        assert!(error.contains(says), "{key}: {error}");
    }
}

#[test]
fn settings_of_both_versions_of_the_configuration_are_read() {
    let plain = opened(|_| ()).unwrap();
    let same = opened(|config| {
        let theta = config.remove("rope_theta").unwrap();
        config.insert(
            "rope_parameters".into(),
            json!({"rope_type": "default", "rope_theta": theta}),
        );
        config.insert("rope_scaling".into(), Value::Null);
        config.insert(
            "layer_types".into(),
            json!(["full_attention", "full_attention"]),
        );
        config.insert("hidden_act".into(), json!("swish"));
    });
    assert_eq!(same.unwrap().config, plain.config);
    // Of both transformers takes `rope_scaling`.
    let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192});
    let both = opened(|config| {
        config.insert("rope_scaling".into(), scaling);
        config.insert("rope_parameters".into(), json!({"rope_type": "default"}));
    });
    assert_eq!(both.unwrap().config.rope_scaling.unwrap().factor, 8.0);
}

#[test]
fn eight_bit_floats_are_refused_by_name_and_type() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = tensors(dir.path(), Family::Llama);
    all.retain(|t| t.0 != HEAD);
    write(dir.path(), &all, Dtype::F8_E4M3);
    let error = ModelFiles::open(dir.path()).err().unwrap().to_string();
    assert!(
        error.contains(EMBEDDING) && error.contains("F8_E4M3"),
        "{error}"
    );
}
