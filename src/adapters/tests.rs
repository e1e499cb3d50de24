use super::*;
use crate::store::{self, DocumentState, JobKind, NewDocument, NewJob, Store, Submission};
use autodidact_engine::lora::peft;
use autodidact_engine::tiny::tiny_config;
use autodidact_engine::{Family, Lora, LoraConfig, ModelConfig, Projection};
use serde_json::Value;
use std::sync::{Arc, Barrier};
use tempfile::TempDir;

const BASE: &str = "tiny-base";
/// Digest of the base's weights.
const DIGEST: &str = "sha256:0123456789abcdef";

fn model() -> ModelConfig {
    tiny_config(Family::Llama)
}

fn registry() -> (TempDir, Registry) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, Registry::new(store, model(), BASE, DIGEST))
}

fn lora(seed: u64) -> Lora {
    let config = LoraConfig {
        rank: 2,
        alpha: 4.0,
        targets: vec![Projection::Q, Projection::Down],
    };
    Lora::random(config, &model(), seed)
}

fn kb() -> AliasName {
    AliasName::parse("kb").unwrap()
}

fn publish(registry: &Registry, expected: Option<u64>, seed: u64) -> store::Version {
    registry
        .publish(&kb(), expected, &lora(seed), &Lineage::Upload)
        .unwrap()
}

fn resolved(registry: &Registry, model: &str) -> Option<u64> {
    let resolved = registry.resolve(model).unwrap();
    assert_eq!(resolved.name, model);
    assert_eq!(resolved.version.is_some(), resolved.adapter.is_some());
    resolved.version.map(|(_, number)| number)
}

#[test]
fn every_form_of_a_model_name_resolves() {
    let (_dir, registry) = registry();
    let first = publish(&registry, None, 1);
    let second = publish(&registry, Some(1), 2);
    assert_eq!(resolved(&registry, BASE), None);
    assert_eq!(resolved(&registry, "kb"), Some(2));
    assert_eq!(resolved(&registry, "kb@1"), Some(1));
    assert_eq!(resolved(&registry, "kb@2"), Some(2));
    assert_eq!(
        resolved(&registry, &format!("kb@{}", first.digest)),
        Some(1)
    );
    let short = &second.digest[.."sha256:".len() + 8];
    assert_eq!(resolved(&registry, &format!("kb@{short}")), Some(2));
    let adapter = registry.resolve("kb@1").unwrap().adapter.unwrap();
    assert_eq!(*adapter.lora, lora(1));
    assert_eq!(adapter.digest, first.digest);

    let too_short = format!("kb@{}", &short[..short.len() - 1]);
    for unknown in [
        "other",
        "kb@3",
        "kb@0",
        "kb@01",
        "kb@+1",
        "kb@",
        "kb@99999999999999999999",
        "kb@sha256:00000000",
        "kb@sha256:%%%%%%%%",
        "KB",
        "",
        "@1",
        "tiny-base@1",
        &too_short,
    ] {
        let answer = registry.resolve(unknown);
        assert!(matches!(answer, Err(Error::Unknown { .. })), "{unknown}");
    }
}

#[test]
fn a_request_keeps_its_version_and_the_last_user_frees_it() {
    let (_dir, registry) = registry();
    publish(&registry, None, 1);
    let request = registry.resolve("kb").unwrap();
    let other = registry.resolve("kb").unwrap();
    let retired = Arc::downgrade(request.adapter.as_ref().unwrap());
    assert!(Arc::ptr_eq(
        request.adapter.as_ref().unwrap(),
        other.adapter.as_ref().unwrap()
    ));
    publish(&registry, Some(1), 2);
    assert_eq!(resolved(&registry, "kb"), Some(2));
    assert_eq!(*request.adapter.as_ref().unwrap().lora, lora(1));
    drop(request);
    assert!(retired.upgrade().is_some(), "one user is left");
    drop(other);
    assert!(retired.upgrade().is_none(), "nobody is left");

    // After the rollback the adapter is read from its blobs again.
    let live = Arc::downgrade(&registry.resolve("kb").unwrap().adapter.unwrap());
    registry.rollback(&kb(), 1, Some(2)).unwrap();
    assert!(live.upgrade().is_none());
    let back = registry.resolve("kb").unwrap().adapter.unwrap();
    assert_eq!(*back.lora, lora(1));
}

#[test]
fn racing_publishers_get_one_version_and_a_conflict() {
    let (_dir, registry) = registry();
    publish(&registry, None, 1);
    let barrier = Barrier::new(2);
    let results: Vec<Result<_>> = std::thread::scope(|scope| {
        let race = |seed| {
            let (registry, barrier) = (&registry, &barrier);
            scope.spawn(move || {
                barrier.wait();
                registry.publish(&kb(), Some(1), &lora(seed), &Lineage::Upload)
            })
        };
        [race(2), race(3)].map(|t| t.join().unwrap()).into()
    });
    let won: Vec<_> = results.iter().flatten().collect();
    assert_eq!(won.len(), 1);
    assert_eq!((won[0].number, won[0].parent), (2, Some(1)));
    let lost = results.iter().find_map(|r| r.as_ref().err()).unwrap();
    let message = "adapter `kb` is at version 2, not at version 1";
    assert_eq!(lost.to_string(), message);
    let live = registry.resolve("kb").unwrap().adapter.unwrap();
    assert_eq!(live.digest, won[0].digest);
}

#[test]
fn a_published_version_survives_the_process() {
    let (dir, registry) = registry();
    publish(&registry, None, 1);
    drop(registry);
    let registry = Registry::new(Store::open(dir.path()).unwrap(), model(), BASE, DIGEST);
    let live = registry.resolve("kb").unwrap().adapter.unwrap();
    assert_eq!(*live.lora, lora(1));
}

#[test]
fn what_is_downloaded_can_be_uploaded() {
    let (_dir, registry) = registry();
    let first = publish(&registry, None, 1);
    let files = registry.download(&kb(), 1).unwrap();
    let copy = AliasName::parse("copy").unwrap();
    let uploaded = registry
        .upload(&copy, files.config_json, files.safetensors, None)
        .unwrap();
    assert_eq!((uploaded.number, uploaded.digest), (1, first.digest));
    let missing = registry.download(&kb(), 7);
    assert!(matches!(
        missing,
        Err(Error::Store(store::Error::NoVersion { number: 7, .. }))
    ));
}

#[test]
fn an_upload_is_checked_before_anything_is_kept() {
    let (_dir, registry) = registry();
    let files = peft::to_files(&lora(1), BASE);
    let garbage = registry.upload(&kb(), files.config_json.clone(), b"garbage".to_vec(), None);
    assert!(matches!(garbage, Err(Error::Files(_))));
    let base = AliasName::parse(BASE).unwrap();
    let taken = registry.upload(
        &base,
        files.config_json.clone(),
        files.safetensors.clone(),
        None,
    );
    assert!(matches!(taken, Err(Error::BaseName { .. })));
    assert_eq!(registry.list(None, 10).unwrap().items, []);

    let upload = |expected| {
        let (config, weights) = (files.config_json.clone(), files.safetensors.clone());
        registry.upload(&kb(), config, weights, expected)
    };
    assert_eq!(upload(None).unwrap().number, 1);
    assert!(matches!(
        upload(Some(2)),
        Err(Error::Store(store::Error::Conflict { .. }))
    ));
    assert_eq!(upload(Some(1)).unwrap().number, 2);
}

#[test]
fn deleting_frees_the_bytes_that_nobody_else_uses() {
    let (dir, registry) = registry();
    let first = publish(&registry, None, 1);
    let second = publish(&registry, Some(1), 2);
    let files = registry.download(&kb(), 1).unwrap();
    let copy = AliasName::parse("copy").unwrap();
    registry
        .upload(&copy, files.config_json, files.safetensors, None)
        .unwrap();

    let stale = registry.delete(&kb(), Some(1));
    assert!(matches!(
        stale,
        Err(Error::Store(store::Error::Conflict { .. }))
    ));
    registry.delete(&kb(), Some(2)).unwrap();
    for name in ["kb", "kb@1", "kb@2"] {
        let gone = registry.resolve(name);
        assert!(matches!(gone, Err(Error::Unknown { .. })), "{name}");
    }
    assert_eq!(resolved(&registry, "copy"), Some(1));
    drop(registry);
    let store = Store::open(dir.path()).unwrap();
    assert!(store.blobs().exists(&first.weights_blob));
    assert!(!store.blobs().exists(&second.weights_blob));
    let registry = Registry::new(store, model(), BASE, DIGEST);
    assert_eq!(publish(&registry, None, 3).number, 1);
}

#[test]
fn publishing_and_marking_the_documents_is_one_act() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let registry = Registry::new(store.clone(), model(), BASE, DIGEST);
    let document = NewDocument::new("Title", "Text");
    let submission = store.jobs().submit(NewJob {
        kind: JobKind::Ingest,
        alias: "kb",
        input: &Value::Null,
        documents: std::slice::from_ref(&document),
        idempotency: None,
        queue_limit: 1,
        estimate_seconds: None,
    });
    assert!(matches!(submission, Ok(Submission::New(..))));
    let ids = [document.id.clone()];
    let publish = |expected| {
        let learned = Learned {
            documents: ids.to_vec(),
            ..Default::default()
        };
        registry.publish_learned(&kb(), expected, &lora(1), &Lineage::Upload, learned)
    };
    publish(Some(4)).unwrap_err();
    let state = || store.documents().get(&ids[0]).unwrap().unwrap().state;
    assert_eq!(state(), DocumentState::Queued);
    publish(None).unwrap();
    assert_eq!(state(), DocumentState::Learned);
    assert_eq!(registry.get(&kb()).unwrap().documents, 1);
}

#[test]
fn loading_and_unloading_as_vllm_does() {
    let (dir, registry) = registry();
    let path = dir.path().join("peft");
    peft::save_dir(&path, &peft::to_files(&lora(1), BASE)).unwrap();
    assert_eq!(registry.load("kb", &path).unwrap().number, 1);
    assert_eq!(resolved(&registry, "kb"), Some(1));
    let twice = registry.load("kb", &path);
    assert!(matches!(twice, Err(Error::AlreadyLoaded { .. })));
    registry.unload("kb").unwrap();
    let gone = registry.resolve("kb");
    assert!(matches!(gone, Err(Error::Unknown { .. })));
    assert_eq!(resolved(&registry, "kb@1"), Some(1));
    for name in ["kb", "other", "Not A Name"] {
        let not_loaded = registry.unload(name);
        assert!(matches!(not_loaded, Err(Error::NotLoaded { .. })), "{name}");
    }
    assert_eq!(registry.load("kb", &path).unwrap().number, 2);
    let nowhere = registry.load("new", &dir.path().join("none"));
    assert!(matches!(nowhere, Err(Error::LoadDirectory { .. })));
}

#[test]
fn a_version_made_for_another_base_is_refused_by_every_name() {
    let (dir, registry) = registry();
    let first = publish(&registry, None, 1);
    assert_eq!(first.base_digest, DIGEST);
    drop(registry);

    let store = Store::open(dir.path()).unwrap();
    let other = Registry::new(store, model(), BASE, "sha256:fedcba9876543210");
    let refusal = "adapter `kb@1` was made for the base model sha256:0123456789ab, \
                   but this server runs sha256:fedcba987654";
    for name in ["kb", "kb@1", &format!("kb@{}", first.digest)] {
        let error = other.resolve(name).unwrap_err();
        assert!(matches!(error, Error::AnotherBase { .. }), "{name}");
        assert_eq!(error.to_string(), refusal, "{name}");
    }
    assert!(other.check_continues(&kb()).is_err());
    // The alias may get a new version for this base, but no rollback to a version for the other base.
    let second = publish(&other, Some(1), 2);
    assert_eq!(second.base_digest, "sha256:fedcba9876543210");
    assert_eq!(resolved(&other, "kb"), Some(2));
    other.check_continues(&kb()).unwrap();
    let back = other.rollback(&kb(), 1, None).unwrap_err();
    assert_eq!(back.to_string(), refusal);
    assert_eq!(other.get(&kb()).unwrap().live, Some(2));
}
