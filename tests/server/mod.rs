//! The real program, started as a user starts it, and a client for it. Nothing here sleeps: a test waits by reading
//! the job's event stream, or with `?wait=`.

mod client;
mod events;

pub use client::Client;
pub use events::{Event, Events, story};

use autodidact_engine::{Family, tiny};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// A data directory with its model, for several servers one after another.
pub struct Place {
    dir: TempDir,
    model: String,
    threads: usize,
}

impl Place {
    /// With the tiny random model.
    pub fn tiny() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("tiny");
        tiny::write_tiny(&model, Family::Qwen2, 7).unwrap();
        let model = model.to_str().unwrap().to_owned();
        Place {
            dir,
            model,
            threads: 1,
        }
    }

    /// With a model of the catalogue, which must be on this machine.
    pub fn with_model(name: &str, file: &str) -> Place {
        let models = std::env::var_os("AUTODIDACT_MODELS").map(PathBuf::from);
        let home = PathBuf::from(std::env::var_os("HOME").unwrap());
        let path = models
            .unwrap_or_else(|| home.join(".cache/autodidact/models"))
            .join(file);
        assert!(
            path.exists(),
            "There is no {}: run `cargo run -- model fetch {name}` first.",
            path.display()
        );
        Place {
            dir: tempfile::tempdir().unwrap(),
            model: name.to_owned(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// The base model's id.
    pub fn base(&self) -> &str {
        self.model.rsplit('/').next().unwrap()
    }

    pub fn serve(&self) -> Server {
        self.serve_with("")
    }

    /// With this configuration file.
    pub fn serve_with(&self, config: &str) -> Server {
        let mut child = self.command(config).spawn().unwrap();
        // The line that it prints when it is ready; end of file if it could not start.
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let Some((_, rest)) = line.split_once(" on http://") else {
            let _ = child.kill();
            let log = self.logged();
            panic!("the server did not start; it said {line:?} and logged:\n{log}");
        };
        let address = rest.split([' ', '\n']).next().unwrap();
        Server {
            client: Client::new(format!("http://{address}")),
            child,
        }
    }

    /// The error message of a server that refuses to start with this configuration.
    pub fn refusal(&self, config: &str) -> String {
        let status = self.command(config).status().unwrap();
        assert!(!status.success());
        self.logged()
    }

    fn command(&self, config: &str) -> Command {
        let file = self.dir.path().join("autodidact.toml");
        std::fs::write(&file, config).unwrap();
        let log = self.log();
        let stderr = OpenOptions::new().create(true).append(true).open(&log);
        let mut command = Command::new(env!("CARGO_BIN_EXE_autodidact"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("AUTODIDACT_") && text != "AUTODIDACT_MODELS" {
                command.env_remove(name);
            }
        }
        command
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--model", &self.model])
            .args(["--threads", &self.threads.to_string()])
            .arg("--config")
            .arg(&file)
            .arg("--data")
            .arg(self.data())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.unwrap());
        command
    }

    /// Puts a copy of another data directory here, before any server runs.
    pub fn fill(&self, from: &Path) {
        copy(from, &self.data());
    }

    /// Path of the database, to be opened while no server runs.
    pub fn database(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.data()).unwrap();
        let mut files = entries.map(|e| e.unwrap().path());
        let is_database = |p: &PathBuf| p.extension().is_some_and(|e| e == "db" || e == "sqlite");
        files.find(is_database).unwrap()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where its servers log, one after another.
    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Everything its servers logged.
    pub fn logged(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(self.log()) {
            std::io::Read::read_to_string(&mut file, &mut text).unwrap();
        }
        text
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A running server; killed when dropped.
pub struct Server {
    client: Client,
    child: Child,
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Server {
    /// `kill -9`: no chance to tidy up.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM, and returns the exit status.
    pub fn terminate(mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A document with two questions whose answers it holds.
pub fn lighthouse() -> Value {
    document(
        "The lighthouse of Vell",
        "The lighthouse of Vell was built by Orr Hallam in 1911 and is 90 metres tall.",
        &[
            ("Who built the lighthouse of Vell?", "Orr Hallam"),
            ("How tall is the lighthouse of Vell?", "90 metres"),
        ],
    )
}

pub fn document(title: &str, text: &str, questions: &[(&str, &str)]) -> Value {
    let questions: Vec<Value> = questions
        .iter()
        .map(|(question, answer)| json!({"question": question, "answer": answer}))
        .collect();
    json!({"title": title, "text": text, "questions": questions})
}

/// An ingest that trains on the passages only and publishes any result.
pub fn ungated(adapter: &str, documents: &[Value], epochs: usize) -> Value {
    json!({
        "adapter": adapter,
        "documents": documents,
        "self_edit": {"kind": "none"},
        "training": {"rank": 4, "alpha": 8.0, "epochs": epochs, "batch_size": 1, "learning_rate": 0.003},
        "gate": {"mode": "off"},
    })
}

/// The nth demo document, from 1, as an ingest takes it.
pub fn demo(nth: usize) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/documents.json");
    let text = std::fs::read_to_string(path).unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    let document = &all[nth - 1];
    json!({"title": document["title"], "text": document["text"], "questions": document["questions"]})
}
