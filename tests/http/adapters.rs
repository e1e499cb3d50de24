//! Adapters: upload, use, rollback, download and deletion.

use crate::common::{BASE, Server, adapter, archive, json_of, tar_of};
use autodidact::adapters::{AliasName, Registry};
use autodidact_engine::lora::peft;
use futures::StreamExt;
use serde_json::{Value, json};
use std::io::Read;

#[tokio::test]
async fn an_uploaded_adapter_answers_under_every_one_of_its_names() {
    let server = Server::start().await;
    let base = server.says(BASE).await;
    let first = server.upload("kb", 1).await;
    assert_eq!(
        (&first["version"], &first["live"], &first["parent"]),
        (&json!(1), &json!(true), &Value::Null)
    );
    let one = server.says("kb").await;
    assert_ne!(one, base);
    let second = server.upload("kb", 2).await;
    assert_eq!(
        (&second["version"], &second["parent"]),
        (&json!(2), &json!(1))
    );
    let two = server.says("kb").await;
    assert_ne!(two, one);
    assert_eq!(server.says("kb@1").await, one);
    assert_eq!(server.says("kb@2").await, two);
    let digest = first["digest"].as_str().unwrap();
    assert_eq!(server.says(&format!("kb@{digest}")).await, one);
    assert_eq!(server.says(&format!("kb@{}", &digest[..15])).await, one);
    assert_eq!(server.says(BASE).await, base);
}

#[tokio::test]
async fn an_answer_names_the_bytes_that_wrote_it() {
    let server = Server::start().await;
    let version = server.upload("kb", 1).await;
    let fingerprint = async |model: &str| -> String {
        let answer: Value = server.chat(model, json!({})).await.json().await.unwrap();
        answer["system_fingerprint"].as_str().unwrap().to_owned()
    };
    let digest = |value: &str| value.trim_start_matches("sha256:")[..12].to_owned();
    let lora = digest(version["digest"].as_str().unwrap());
    assert_eq!(fingerprint("kb").await, format!("lora-{lora}"));
    let base = digest(&server.state.engine.files().digest);
    assert_eq!(fingerprint(BASE).await, format!("base-{base}"));
}

#[tokio::test]
async fn a_rollback_moves_the_name_if_it_stands_where_expected() {
    let server = Server::start().await;
    server.upload("kb", 1).await;
    let one = server.says("kb").await;
    server.upload("kb", 2).await;
    let rollback = |body: Value| json_of(server.post("/adapters/kb/rollback").json(&body));
    let (status, problem) = rollback(json!({"version": 1, "expected_version": 1})).await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("version_conflict"))
    );
    let (status, problem) = rollback(json!({"version": 9})).await;
    assert_eq!(
        (status, &problem["code"]),
        (404, &json!("version_not_found"))
    );
    let (status, alias) = rollback(json!({"version": 1, "expected_version": 2})).await;
    assert_eq!((status, &alias["live_version"]), (200, &json!(1)));
    assert_eq!(server.says("kb").await, one);
    let (_, versions) = json_of(server.get("/adapters/kb/versions")).await;
    let live: Vec<(u64, bool)> = versions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (v["version"].as_u64().unwrap(), v["live"].as_bool().unwrap()))
        .collect();
    assert_eq!(live, [(2, false), (1, true)]);
}

#[tokio::test]
async fn an_upload_may_expect_what_it_follows() {
    let server = Server::start().await;
    server.upload("kb", 1).await;
    let upload = |expected: u64| {
        let path = format!("/adapters?name=kb&expected_version={expected}");
        json_of(server.post_archive(&path, archive(&adapter(2))))
    };
    let (status, problem) = upload(7).await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("version_conflict"))
    );
    assert_eq!(upload(1).await.0, 201);
}

#[tokio::test]
async fn what_was_uploaded_is_downloaded_byte_for_byte() {
    let server = Server::start().await;
    server.upload("kb", 1).await;
    let answer = server
        .get("/adapters/kb/versions/1/weights")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["content-type"], "application/x-tar");
    let bytes = answer.bytes().await.unwrap();
    let mut found = Vec::new();
    for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.push((name, content));
    }
    let files = adapter(1);
    assert_eq!(
        found,
        [
            ("adapter_config.json".to_owned(), files.config_json),
            ("adapter_model.safetensors".to_owned(), files.safetensors),
        ]
    );
    // A download can be uploaded again and is the same adapter.
    let again = server.post_archive("/adapters?name=copy", bytes.to_vec());
    let (_, copy) = json_of(again).await;
    let (_, original) = json_of(server.get("/adapters/kb")).await;
    assert_eq!(copy["digest"], original["digest"]);
}

#[tokio::test]
async fn a_deleted_adapter_is_gone() {
    let server = Server::start().await;
    server.upload("kb", 1).await;
    let path = "/adapters/kb?expected_version=2";
    assert_eq!(server.delete(path).send().await.unwrap().status(), 409);
    assert_eq!(
        server.delete("/adapters/kb").send().await.unwrap().status(),
        204
    );
    assert_eq!(
        server.delete("/adapters/kb").send().await.unwrap().status(),
        404
    );
    assert_eq!(server.chat("kb", json!({})).await.status(), 404);
    assert_eq!(
        server.get("/adapters/kb").send().await.unwrap().status(),
        404
    );
}

#[tokio::test]
async fn lists_page_by_cursor() {
    let server = Server::start().await;
    for (name, seed) in [("b", 1), ("a", 2), ("c", 3)] {
        server.upload(name, seed).await;
    }
    let (_, first) = json_of(server.get("/adapters?limit=2")).await;
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|i| i["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&first), ["a", "b"]);
    let after = first["next"].as_str().unwrap();
    let (_, second) = json_of(server.get(&format!("/adapters?limit=2&after={after}"))).await;
    assert_eq!(names(&second), ["c"]);
    assert_eq!(second["next"], Value::Null);
}

#[tokio::test]
async fn only_archives_of_a_fitting_adapter_are_taken() {
    let server = Server::start().await;
    let files = adapter(1);
    let config = ("x/adapter_config.json", files.config_json.as_slice());
    let weights = ("x/adapter_model.safetensors", files.safetensors.as_slice());
    let readme = ("x/README.md", b"# hello".as_slice());
    let cases = [
        (b"not a tar".to_vec(), 400, "malformed_archive"),
        (tar_of(&[config]), 422, "invalid_adapter"),
        (
            tar_of(&[config, ("adapter_model.bin", b"pickle")]),
            422,
            "invalid_adapter",
        ),
        (tar_of(&[config, weights, weights]), 422, "invalid_adapter"),
        (
            tar_of(&[config, ("adapter_model.safetensors", b"short")]),
            422,
            "invalid_adapter",
        ),
    ];
    for (body, status, code) in cases {
        let (s, problem) = json_of(server.post_archive("/adapters?name=kb", body)).await;
        assert_eq!((s, &problem["code"]), (status, &json!(code)), "{problem}");
    }
    assert_eq!(json_of(server.get("/adapters")).await.1["items"], json!([]));
    let fine = tar_of(&[readme, config, weights]);
    assert_eq!(
        json_of(server.post_archive("/adapters?name=kb", fine))
            .await
            .0,
        201
    );
}

#[tokio::test]
async fn vllms_routes_load_and_unload() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    peft::save_dir(directory.path(), &adapter(1)).unwrap();
    let load = json!({"lora_name": "kb", "lora_path": directory.path(), "load_inplace": false});
    let post = async |path: &str, body: &Value| {
        let answer = server.post(path).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = post("/v1/load_lora_adapter", &load).await;
    assert_eq!(
        (status, text.as_str()),
        (200, "Success: LoRA adapter 'kb' added successfully.")
    );
    assert_ne!(server.says("kb").await, server.says(BASE).await);
    assert_eq!(post("/v1/load_lora_adapter", &load).await.0, 400);
    let unload = json!({"lora_name": "kb"});
    let (status, text) = post("/v1/unload_lora_adapter", &unload).await;
    assert_eq!(
        (status, text.as_str()),
        (200, "Success: LoRA adapter 'kb' removed successfully.")
    );
    assert_eq!(server.chat("kb", json!({})).await.status(), 404);
    let (status, text) = post("/v1/unload_lora_adapter", &unload).await;
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &error["error"]["param"]),
        (404, &json!("lora_name"))
    );
    let nowhere = json!({"lora_name": "x", "lora_path": "/nowhere"});
    let (status, text) = post("/v1/load_lora_adapter", &nowhere).await;
    let error: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &error["error"]["param"]),
        (400, &json!("lora_path"))
    );
}

#[tokio::test]
async fn an_answer_never_mixes_two_versions() {
    let server = Server::start().await;
    server.upload("kb", 1).await;
    let long = json!({"temperature": 0, "max_tokens": 400});
    let whole: Value = server.chat("kb", long.clone()).await.json().await.unwrap();
    let mut streamed = long;
    streamed["stream"] = json!(true);
    let mut stream = server.chat("kb", streamed).await.bytes_stream();
    let mut bytes = stream.next().await.unwrap().unwrap().to_vec();
    // During the answer the alias moves on, and then it is deleted with all its versions.
    server.upload("kb", 2).await;
    let deleted = server.delete("/adapters/kb").send().await.unwrap();
    assert_eq!(deleted.status(), 204);
    while let Some(more) = stream.next().await {
        bytes.extend(more.unwrap());
    }
    let text = String::from_utf8(bytes).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: {"));
    let chunks = data.map(|rest| serde_json::from_str::<Value>(&format!("{{{rest}")).unwrap());
    let said: String = chunks
        .filter_map(|c| {
            c["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(said, whole["choices"][0]["message"]["content"]);
}

#[tokio::test]
async fn an_adapter_of_another_base_is_refused_with_a_reason() {
    let server = Server::start().await;
    let (state, config) = (&server.state, server.state.engine.files().config.clone());
    // The data directory has an adapter for another model of the same shape.
    let left = Registry::new(state.store.clone(), config, BASE, "sha256:0123456789abcdef");
    let files = adapter(1);
    let alias = AliasName::parse("kb").unwrap();
    left.upload(&alias, files.config_json, files.safetensors, None)
        .unwrap();

    let answer = server.chat("kb", json!({})).await;
    assert_eq!(answer.status(), 409);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["error"]["code"], "adapter_of_another_base");
    let served = &state.engine.files().digest[..19];
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("sha256:0123456789ab,"), "{message}");
    assert!(message.contains(served), "{message}");
    let (status, problem) = json_of(server.ingest("kb", &["A"])).await;
    let expected = (409, &json!("adapter_of_another_base"));
    assert_eq!((status, &problem["code"]), expected);
}
