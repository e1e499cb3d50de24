//! The first start, which fetches the model: the server's answers meanwhile, and a stop before it is ready.

use crate::support::hub::Hub;
use autodidact_engine::{Family, tiny};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use tempfile::TempDir;
use ureq::{Agent, http::Response};

const AT: &str = "0123456789012345678901234567890123456789";

/// A server whose model comes from a hub.
struct Starting {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    log: Lines<BufReader<ChildStderr>>,
    url: String,
    agent: Agent,
    _dir: TempDir,
}

/// A home whose catalogue has one model, which the hub holds.
fn home(hub: &Hub) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    tiny::write_tiny(&source, Family::Llama, 1).unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(&source).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let bytes = fs::read(source.join(&name)).unwrap();
        hub.put(&format!("/some/tiny/resolve/{AT}/{name}"), bytes);
        names.push(name);
    }
    let catalogue = format!(
        "[[models]]\nname = 'tiny'\nfamily = 'llama'\nformat = 'safetensors'\nlicence = 'MIT'\n\
         file = 'Tiny'\nsize = 100000\n[[models.sources]]\nhuggingface.repository = 'some/tiny'\n\
         huggingface.revision = '{AT}'\nhuggingface.files = {names:?}\n"
    );
    fs::write(dir.path().join("catalogue.toml"), catalogue).unwrap();
    dir
}

impl Starting {
    /// Once it listens.
    fn new(dir: TempDir, hub: &Hub) -> Self {
        let at = |name: &str| dir.path().join(name);
        let mut child = Command::new(env!("CARGO_BIN_EXE_autodidact"))
            .args(["serve", "--model", "tiny", "--listen", "127.0.0.1:0"])
            .args(["--threads", "1"])
            .env_clear()
            .env("HOME", dir.path())
            .env("AUTODIDACT_HF_ENDPOINT", &hub.url)
            .env("AUTODIDACT_MODELS", at("models"))
            .env("AUTODIDACT_MODELS_FILE", at("catalogue.toml"))
            .env("AUTODIDACT_DATA", at("data"))
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let told = log.find_map(|line| {
            let line = line.unwrap();
            let (_, address) = line.split_once("listening on http://")?;
            Some(address.split(';').next().unwrap().to_owned())
        });
        Starting {
            out: BufReader::new(child.stdout.take().unwrap()).lines(),
            url: format!("http://{}", told.expect("it says where it listens")),
            child,
            log,
            agent: Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .into(),
            _dir: dir,
        }
    }

    fn get(&self, path: &str) -> Response<ureq::Body> {
        self.agent
            .get(format!("{}{path}", self.url))
            .call()
            .unwrap()
    }

    fn json(&self, path: &str) -> (u16, Value) {
        let mut answer = self.get(path);
        let body = answer.body_mut().read_to_string().unwrap();
        (answer.status().into(), serde_json::from_str(&body).unwrap())
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn until_the_model_is_here_it_lives_and_is_not_ready() {
    let hub = Hub::start();
    let home = home(&hub);
    let held = hub.hold();
    let mut server = Starting::new(home, &hub);

    assert_eq!(server.json("/livez").0, 200);
    let (status, problem) = server.json("/readyz");
    assert_eq!((status, problem["code"].as_str()), (503, Some("loading")));
    let (status, error) = server.json("/v1/models");
    assert_eq!(
        (status, error["error"]["code"].as_str()),
        (503, Some("loading"))
    );
    let later = server.get("/jobs");
    assert!(later.headers().contains_key("retry-after"));
    let page = server.get("/");
    assert_eq!(page.status(), 503);
    assert!(page.headers().contains_key("refresh"), "a browser waits");
    assert!(page.headers().contains_key("retry-after"));

    drop(held);
    let ready = server.out.next().unwrap().unwrap();
    assert!(
        ready.starts_with("autodidact serves tiny on http://"),
        "{ready}"
    );
    assert_eq!(server.json("/readyz").0, 200);
    assert_eq!(server.get("/").status(), 200);
    assert_eq!(server.json("/v1/models").1["data"][0]["id"], "tiny");
}

#[test]
fn it_can_be_stopped_while_it_fetches() {
    let hub = Hub::start();
    let home = home(&hub);
    let _held = hub.hold();
    let mut server = Starting::new(home, &hub);
    let id = server.child.id().to_string();
    assert!(Command::new("kill").arg(id).status().unwrap().success());
    assert!(server.child.wait().unwrap().success());
    assert!(server.out.next().is_none(), "it never was ready");
}

#[test]
fn a_model_that_cannot_be_had_ends_the_start() {
    let hub = Hub::start();
    hub.ask_for_token("secret");
    let mut server = Starting::new(home(&hub), &hub);
    assert_eq!(server.child.wait().unwrap().code(), Some(1));
    let last = server.log.by_ref().last().unwrap().unwrap();
    assert!(last.starts_with("error: "), "{last}");
}
