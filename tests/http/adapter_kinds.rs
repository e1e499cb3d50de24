//! Adapters as other programs save them: what is served, what is refused by name, and the formats that they leave in.

use crate::common::{Server, adapter, archive, json_of};
use autodidact_engine::ModelFiles;
use autodidact_engine::lora::peft::{self, PeftFiles, TensorType};
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("engine/tests/fixtures")
        .join(name)
}

/// An adapter that PEFT saved.
fn saved(name: &str) -> PeftFiles {
    peft::load_dir(&fixture("peft_variants").join(name)).unwrap()
}

/// A server over a GGUF file of a tiny model of the family.
async fn over_gguf(family: &str) -> Server {
    let model = fixture("gguf_tiny").join(format!("{family}.gguf"));
    Server::over(Some(&model), |_| {}).await
}

async fn upload(server: &Server, name: &str, files: &PeftFiles) -> (u16, Value) {
    let path = format!("/adapters?name={name}");
    json_of(server.post_archive(&path, archive(files))).await
}

/// The adapter of seed 1 with some entries of its configuration changed.
fn with(changes: &Value) -> PeftFiles {
    let mut files = adapter(1);
    let mut config: Value = serde_json::from_slice(&files.config_json).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    files.config_json = serde_json::to_vec(&config).unwrap();
    files
}

/// Greedy text and log-probabilities after a prompt of a few characters.
async fn completes(server: &Server, model: &str) -> (String, Vec<f64>) {
    let body = json!({"model": model, "prompt": "KZ9A?", "max_tokens": 6, "temperature": 0, "logprobs": 0,
        "ignore_eos": true});
    let (status, answer) = json_of(server.post("/v1/completions").json(&body)).await;
    assert_eq!(status, 200, "{model}: {answer}");
    let choice = &answer["choices"][0];
    let numbers = choice["logprobs"]["token_logprobs"].as_array().unwrap();
    let text = choice["text"].as_str().unwrap().to_owned();
    (text, numbers.iter().filter_map(Value::as_f64).collect())
}

#[tokio::test]
async fn adapters_of_another_computation_are_refused_by_name() {
    let server = Server::start().await;
    for (changes, said) in [
        (
            json!({"init_lora_weights": "olora"}),
            "init_lora_weights is \"olora\"",
        ),
        (
            json!({"init_lora_weights": "corda"}),
            "init_lora_weights is \"corda\"",
        ),
        (
            json!({"init_lora_weights": "pissa_niter_4"}),
            "path_initial_model_for_weight_conversion",
        ),
        (json!({"init_lora_weights": "loftq"}), "LoftQ"),
        (
            json!({"layer_replication": [[0, 2], [1, 3]]}),
            "layer_replication",
        ),
        (json!({"use_bdlora": true}), "use_bdlora"),
        (json!({"use_qalora": true}), "use_qalora"),
        (
            json!({"alora_invocation_tokens": [7, 8]}),
            "alora_invocation_tokens",
        ),
        (json!({"kasa_config": {"beta": 0.0001}}), "kasa_config"),
        (
            json!({"an_entry_of_next_year": {"on": true}}),
            "an_entry_of_next_year",
        ),
        (json!({"fan_in_fan_out": true}), "Llama models"),
        (json!({"target_modules": ["c_attn"]}), "Llama model"),
    ] {
        let (status, problem) = upload(&server, "kb", &with(&changes)).await;
        let told = (status, &problem["code"]);
        assert_eq!(
            told,
            (422, &json!("invalid_adapter")),
            "{changes}: {problem}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{changes}: {detail}");
    }
    assert_eq!(json_of(server.get("/adapters")).await.1["items"], json!([]));
    // The same entries at values that ask for nothing.
    let neutral = json!({"init_lora_weights": true, "layer_replication": null, "use_bdlora": null,
        "use_qalora": false, "alora_invocation_tokens": null, "kasa_config": null,
        "an_entry_of_next_year": null, "peft_version": "0.30.0"});
    assert_eq!(upload(&server, "kb", &with(&neutral)).await.0, 201);
}

#[tokio::test]
async fn what_is_sent_in_place_of_weights_is_told() {
    let server = Server::start().await;
    let pointer = "version https://git-lfs.github.com/spec/v1\n\
        oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    for (weights, said) in [
        (pointer.as_bytes(), "Git LFS pointer"),
        (
            b"<!DOCTYPE html><html><body>404</body></html>".as_slice(),
            "web page",
        ),
        (
            b"PK\x03\x04\x00\x00adapter_model/data.pkl".as_slice(),
            "pickled",
        ),
    ] {
        let mut files = adapter(1);
        files.safetensors = weights.to_vec();
        let (status, problem) = upload(&server, "kb", &files).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_adapter")));
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{detail}");
    }
    assert_eq!(json_of(server.get("/adapters")).await.1["items"], json!([]));
}

#[tokio::test]
async fn adapters_of_every_kind_answer() {
    for family in ["llama", "qwen2"] {
        let server = over_gguf(family).await;
        let base = completes(&server, "tiny").await;
        let mut served = 0;
        for entry in std::fs::read_dir(fixture("peft_variants")).unwrap() {
            let directory = entry.unwrap().path();
            let expected = std::fs::read(directory.join("expected.json")).unwrap();
            let expected: Value = serde_json::from_slice(&expected).unwrap();
            if expected["base"] != family {
                continue;
            }
            let files = peft::load_dir(&directory).unwrap();
            let (status, version) = upload(&server, "kb", &files).await;
            assert_eq!(status, 201, "{}: {version}", directory.display());
            assert_ne!(
                completes(&server, "kb").await.1,
                base.1,
                "{}",
                directory.display()
            );
            served += 1;
        }
        assert!(served >= 7, "{served} adapters of {family}");
        assert_eq!(completes(&server, "tiny").await, base);
    }
}

#[tokio::test]
async fn what_training_cannot_continue_is_refused_before_a_job() {
    let server = over_gguf("qwen2").await;
    assert_eq!(upload(&server, "kb", &saved("dora")).await.0, 201);
    let document = json!({"adapter": "kb", "documents": [{"title": "A", "text": "The ferry leaves at seven."}]});
    let task = json!({"adapter": "kb", "task": {"kind": "text", "train": [{"input": "A", "output": "B"},
        {"input": "C", "output": "D"}], "test": [{"input": "E"}]}});
    for (path, body) in [("/ingest", document), ("/adapt", task)] {
        let (status, problem) = json_of(server.post(path).json(&body)).await;
        let told = (status, &problem["code"]);
        assert_eq!(
            told,
            (409, &json!("adapter_not_trainable")),
            "{path}: {problem}"
        );
        assert!(problem["detail"].as_str().unwrap().contains("use_dora"));
    }
    assert_eq!(json_of(server.get("/jobs")).await.1["items"], json!([]));
}

async fn download(server: &Server, query: &str) -> (reqwest::header::HeaderMap, Vec<u8>) {
    let path = format!("/adapters/kb/versions/1/weights{query}");
    let answer = server.get(&path).send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    let bytes = answer.bytes().await.unwrap().to_vec();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&bytes));
    (headers, bytes)
}

#[tokio::test]
async fn peft_files_leave_in_bf16_too() {
    let server = over_gguf("qwen2").await;
    let files = saved("dora");
    upload(&server, "kb", &files).await;
    let (headers, bytes) = download(&server, "?dtype=bf16").await;
    assert_eq!(headers["content-type"], "application/x-tar");
    let mut found = Vec::new();
    for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
        let mut content = Vec::new();
        entry.unwrap().read_to_end(&mut content).unwrap();
        found.push(content);
    }
    assert_eq!(found[0], files.config_json);
    let half = peft::in_type(&files, TensorType::Bf16).unwrap();
    assert_eq!(found[1], half.safetensors);
    let header = String::from_utf8_lossy(&found[1][..400]);
    assert!(
        header.contains("\"BF16\"") && !header.contains("\"F32\""),
        "{header}"
    );
    // It comes in again, and says nearly the same.
    assert_eq!(
        json_of(server.post_archive("/adapters?name=half", bytes))
            .await
            .0,
        201
    );
    let (one, half) = (
        completes(&server, "kb").await,
        completes(&server, "half").await,
    );
    assert!((one.1[0] - half.1[0]).abs() < 0.1, "{one:?} {half:?}");
}

#[tokio::test]
async fn a_gguf_lora_and_a_merged_model_leave() {
    let server = over_gguf("llama").await;
    upload(&server, "kb", &saved("patterns")).await;
    let (headers, bytes) = download(&server, "?format=gguf").await;
    assert_eq!(headers["content-type"], "application/octet-stream");
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"kb-1.gguf\""
    );
    assert_eq!(&bytes[..4], b"GGUF");
    let text = String::from_utf8_lossy(&bytes);
    for name in [
        "adapter.lora.alpha",
        "blk.1.attn_q.weight.lora_a",
        "blk.0.ffn_down.weight.lora_b",
    ] {
        assert!(text.contains(name), "{name}");
    }

    let directory = tempfile::tempdir().unwrap();
    let ours = completes(&server, "kb").await;
    for (query, file, near) in [
        ("?format=merged", "f16.gguf", 0.02),
        ("?format=merged&dtype=f16", "again.gguf", 0.02),
        ("?format=merged&dtype=q8_0", "q8_0.gguf", 0.3),
    ] {
        let (headers, bytes) = download(&server, query).await;
        assert_eq!(headers["content-length"], bytes.len().to_string());
        let name = "attachment; filename=\"kb-1-merged.gguf\"";
        assert_eq!(headers["content-disposition"], name);
        let path = directory.path().join(file);
        std::fs::write(&path, bytes).unwrap();
        ModelFiles::open(&path).unwrap();
        let merged = Server::over(Some(&path), |_| {}).await;
        let theirs = completes(&merged, "tiny").await;
        let (one, other) = (ours.1[0], theirs.1[0]);
        assert!((one - other).abs() < near, "{query}: {ours:?} {theirs:?}");
    }
}

#[tokio::test]
async fn what_a_format_has_no_place_for_is_refused() {
    let server = over_gguf("qwen2").await;
    upload(&server, "kb", &saved("dora")).await;
    for (query, field, said) in [
        ("?format=gguf", "format", "use_dora"),
        ("?format=gguf&dtype=f16", "dtype", "f32"),
        ("?format=merged&dtype=bf16", "dtype", "f16 or q8_0"),
        ("?dtype=q8_0", "dtype", "f32, f16 or bf16"),
        ("?format=zip", "format", "peft"),
        ("?kind=gguf", "kind", "kind"),
    ] {
        let path = format!("/adapters/kb/versions/1/weights{query}");
        let (status, problem) = json_of(server.get(&path)).await;
        assert_eq!(
            (status, &problem["field"]),
            (422, &json!(field)),
            "{query}: {problem}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{query}: {detail}");
    }
    let missing = server.get("/adapters/kb/versions/9/weights?format=merged");
    assert_eq!(json_of(missing).await.0, 404);
    // A merged GGUF needs a GGUF base.
    let server = Server::start().await;
    server.upload("kb", 1).await;
    let path = "/adapters/kb/versions/1/weights?format=merged";
    let (status, problem) = json_of(server.get(path)).await;
    assert_eq!((status, &problem["field"]), (422, &json!("format")));
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("Hugging Face directory")
    );
    assert_eq!(json_of_status(&server, "?format=gguf").await, 200);
}

async fn json_of_status(server: &Server, query: &str) -> u16 {
    let path = format!("/adapters/kb/versions/1/weights{query}");
    server.get(&path).send().await.unwrap().status().as_u16()
}
