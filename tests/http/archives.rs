//! Uploads of adapters in archives as people's programs write them: every format of tar, `git archive`, gzip, zip, and
//! forms.

use super::formats::{FormField, form};
use crate::common::{Server, adapter, archive, json_of, tar_of};
use autodidact_engine::lora::peft::{self, PeftFiles};
use serde_json::{Value, json};
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Command;
use zip::write::SimpleFileOptions;

/// The output of a program that must succeed.
fn output(program: &str, arguments: &[&str], directory: &Path) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory);
    // No settings of this machine.
    command
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {told}");
    output.stdout
}

async fn upload(server: &Server, kind: &str, body: Vec<u8>) -> (u16, Value) {
    let request = server
        .post("/adapters?name=kb")
        .header("content-type", kind);
    json_of(request.body(body)).await
}

/// Uploads something that holds the adapter of this seed, and checks that it is the same adapter.
async fn taken(server: &Server, kind: &str, body: Vec<u8>, what: &str) {
    let (status, version) = upload(server, kind, body).await;
    assert_eq!(status, 201, "{what}: {version}");
    let request = server.post_archive("/adapters?name=plain", archive(&adapter(1)));
    assert_eq!(
        version["digest"],
        json_of(request).await.1["digest"],
        "{what}"
    );
}

/// A directory with an adapter of a long path, a README and a folder.
fn checkout(files: &PeftFiles) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory
        .path()
        .join("an adapter/".to_owned() + &"checkpoint-with-a-long-name/".repeat(6));
    std::fs::create_dir_all(&inner).unwrap();
    peft::save_dir(&inner, files).unwrap();
    std::fs::write(directory.path().join("README.md"), "# Größe").unwrap();
    directory
}

#[tokio::test]
async fn every_format_of_tar_is_read() {
    let server = Server::start().await;
    let directory = checkout(&adapter(1));
    let path = directory.path();
    for format in ["pax", "gnu", "oldgnu", "ustar", "posix"] {
        let format = format!("--format={format}");
        let body = output("tar", &[&format, "-cf", "-", "."], path);
        taken(&server, "application/x-tar", body, &format).await;
    }
    // The oldest format has room for short paths alone.
    let flat = tempfile::tempdir().unwrap();
    peft::save_dir(flat.path(), &adapter(1)).unwrap();
    let body = output("tar", &["--format=v7", "-cf", "-", "."], flat.path());
    taken(&server, "application/x-tar", body, "v7").await;
    let body = output("tar", &["-czf", "-", "."], path);
    for kind in [
        "application/gzip",
        "application/x-gzip",
        "application/octet-stream",
    ] {
        taken(&server, kind, body.clone(), kind).await;
    }
    let python = "import sys, tarfile\nwith tarfile.open(fileobj=sys.stdout.buffer, mode='w|') as t: t.add('.')";
    let body = output("python3", &["-c", python], path);
    taken(&server, "application/x-tar", body, "Python's tarfile").await;
    let labelled = output(
        "tar",
        &["--format=gnu", "-V", "adapter_config.json", "-cf", "-", "."],
        path,
    );
    taken(&server, "application/x-tar", labelled, "a labelled volume").await;
}

#[tokio::test]
async fn what_git_archives_is_read() {
    let server = Server::start().await;
    let directory = checkout(&adapter(1));
    let path = directory.path();
    output("git", &["init", "-q"], path);
    output("git", &["add", "-A"], path);
    let commit = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "commit",
        "-q",
        "-m",
        "An adapter",
    ];
    output("git", &commit, path);
    for (format, kind) in [
        ("tar", "application/x-tar"),
        ("tar.gz", "application/gzip"),
        ("zip", "application/zip"),
    ] {
        let format = format!("--format={format}");
        let body = output(
            "git",
            &["archive", &format, "--prefix=adapter/", "HEAD"],
            path,
        );
        taken(&server, kind, body, &format).await;
    }
}

#[tokio::test]
async fn zip_archives_are_read() {
    let server = Server::start().await;
    let directory = checkout(&adapter(1));
    let python = "import io, os, sys, zipfile\nb = io.BytesIO()\nwith zipfile.ZipFile(b, 'w', int(sys.argv[1])) as z:\n \
        for d, _, fs in os.walk('.'):\n  for f in fs: z.write(os.path.join(d, f))\nsys.stdout.buffer.write(b.getvalue())";
    // Stored and deflated.
    for method in ["0", "8"] {
        let body = output("python3", &["-c", python, method], directory.path());
        taken(&server, "application/zip", body, method).await;
    }
    let files = adapter(1);
    let zip = |entries: &[(&str, &[u8])]| {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            writer
                .start_file(*name, SimpleFileOptions::default())
                .unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer
    };
    let config = ("adapter_config.json", files.config_json.as_slice());
    let weights = ("adapter_model.safetensors", files.safetensors.as_slice());
    let finish = |writer: zip::ZipWriter<Cursor<Vec<u8>>>| writer.finish().unwrap().into_inner();
    let apple = zip(&[("__MACOSX/._adapter_config.json", b"x"), config, weights]);
    taken(
        &server,
        "application/x-zip-compressed",
        finish(apple),
        "macOS",
    )
    .await;

    let mut latest = zip(&[config, weights]);
    latest
        .add_symlink("latest", "checkpoint-3", SimpleFileOptions::default())
        .unwrap();
    taken(
        &server,
        "application/zip",
        finish(latest),
        "a link beside them",
    )
    .await;

    let mut linked = zip(&[config]);
    linked
        .add_symlink(weights.0, "/etc/passwd", SimpleFileOptions::default())
        .unwrap();
    let broken = finish(zip(&[config, weights]));
    for (body, status, told) in [
        (finish(linked), 422, "plain file"),
        (finish(zip(&[config])), 422, "adapter_model.safetensors"),
        (
            finish(zip(&[config, weights, ("x/adapter_config.json", b"{}")])),
            422,
            "more than one",
        ),
        (broken[..broken.len() / 2].to_vec(), 400, "zip archive"),
    ] {
        let (found, problem) = upload(&server, "application/zip", body).await;
        assert_eq!(found, status, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains(told),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_form_brings_the_two_files() {
    let server = Server::start().await;
    let files = adapter(1);
    let (config, weights) = (files.config_json.as_slice(), files.safetensors.as_slice());
    let json = "application/json";
    let octets = "application/octet-stream";
    let packed = archive(&files);
    let named: Vec<FormField<'_>> = vec![
        ("file", Some(("adapter_config.json", json)), config),
        (
            "file",
            Some(("C:\\lora\\adapter_model.safetensors", octets)),
            weights,
        ),
        ("file", Some(("README.md", octets)), b"# hello"),
    ];
    let by_field: Vec<FormField<'_>> = vec![
        ("adapter_config.json", Some(("blob", octets)), config),
        ("adapter_model.safetensors", Some(("blob", octets)), weights),
    ];
    let archived: Vec<FormField<'_>> =
        vec![("file", Some(("adapter.tar", "application/x-tar")), &packed)];
    let unnamed: Vec<FormField<'_>> = vec![("file", Some(("blob", octets)), &packed)];
    for fields in [&named, &by_field, &archived, &unnamed] {
        let (kind, body) = form(fields, "xyz");
        taken(&server, &kind, body, "a form").await;
    }
    let text: (&str, Option<(&str, &str)>, &[u8]) = ("name", None, b"kb");
    for (fields, told) in [
        (vec![named[0]], "adapter_model.safetensors"),
        (vec![named[0], named[1], named[0]], "more than one"),
        (vec![named[0], named[1], text], "'name'"),
    ] {
        let (kind, body) = form(&fields, "xyz");
        let (status, problem) = upload(&server, &kind, body).await;
        assert_eq!(status, 422, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains(told),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn sparse_files_and_other_kinds_of_archives_are_refused_by_name() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    peft::save_dir(path, &adapter(1)).unwrap();
    // A hole of a megabyte.
    let weights = std::fs::File::options()
        .write(true)
        .open(path.join("adapter_model.safetensors"));
    weights.unwrap().set_len(1 << 20).unwrap();
    for format in ["pax", "gnu"] {
        let body = output(
            "tar",
            &[&format!("--format={format}"), "--sparse", "-cf", "-", "."],
            path,
        );
        assert!(body.len() < 1 << 20, "the hole was written out");
        let (status, problem) = upload(&server, "application/x-tar", body).await;
        assert_eq!(
            (status, &problem["code"]),
            (422, &json!("invalid_adapter")),
            "{format}"
        );
        assert!(
            problem["detail"].as_str().unwrap().contains("sparse"),
            "{problem}"
        );
    }
    let files = adapter(1);
    let whole = tar_of(&[
        ("adapter_config.json", &files.config_json),
        ("adapter_model.safetensors", &files.safetensors),
    ]);
    let (status, problem) = upload(
        &server,
        "application/x-tar",
        whole[..whole.len() / 2].to_vec(),
    )
    .await;
    assert_eq!(
        (status, &problem["code"]),
        (400, &json!("malformed_archive")),
        "{problem}"
    );
    let (status, problem) = upload(&server, "application/x-xz", b"\xfd7zXZ\0".to_vec()).await;
    assert_eq!(status, 415);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("application/zip"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_zip_of_very_many_entries_is_refused() {
    let server = Server::start().await;
    let zip = |entries: usize| {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for nth in 0..entries {
            let name = nth.to_string();
            let options = SimpleFileOptions::default();
            writer.start_file(name.as_str(), options).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    for (entries, told) in [
        (10_001, "more than 10000 entries"),
        (10_000, "adapter_config.json"),
    ] {
        let (status, problem) = upload(&server, "application/zip", zip(entries)).await;
        assert_eq!(status, 422, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains(told),
            "{problem}"
        );
    }
}
