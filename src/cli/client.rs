//! A small blocking HTTP client and a server process, for commands that measure our own server over HTTP.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use ureq::Agent;

type Sent = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

pub struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    pub fn new(url: impl Into<String>) -> Self {
        // The server is on this machine, so no proxy is used.
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Client {
            agent: config.into(),
            url: url.into(),
        }
    }

    /// The id of the base model.
    pub fn base_model(&self) -> Result<String, String> {
        let models = self.get("/v1/models")?;
        let list = models["data"].as_array().cloned().unwrap_or_default();
        let base = list.iter().find(|m| m["parent"].is_null());
        base.and_then(|m| m["id"].as_str())
            .map(str::to_owned)
            .ok_or_else(|| format!("the server lists no base model: {models}"))
    }

    /// The greedy answer to one user message.
    pub fn ask(&self, model: &str, message: &str) -> Result<String, String> {
        let body = json!({"model": model, "temperature": 0, "max_tokens": 48, "seed": 0,
                          "messages": [{"role": "user", "content": message}]});
        let answer = self.post("/v1/chat/completions", &body)?;
        answer["choices"][0]["message"]["content"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| format!("no answer in {answer}"))
    }

    /// Posts one document and waits for its job. Returns whether it was learned, and the reason.
    pub fn ingest(&self, body: &Value) -> Result<(bool, String), String> {
        let mut answer = self.post("/ingest?wait=60s", body)?;
        let job = answer["job"]["id"].as_str().unwrap_or_default().to_owned();
        let finished = |j: &Value| {
            matches!(
                j["state"].as_str(),
                Some("succeeded" | "failed" | "cancelled")
            )
        };
        while !finished(&answer["job"]) {
            std::thread::sleep(Duration::from_millis(500));
            answer = json!({"job": self.get(&format!("/jobs/{job}"))?});
        }
        let job = &answer["job"];
        if job["state"] != "succeeded" {
            return Err(format!(
                "the job ended as {}: {}",
                job["state"], job["error"]
            ));
        }
        let document = &job["result"]["documents"][0];
        let reason = document["reason"].as_str().unwrap_or_default().to_owned();
        Ok((document["state"] == "learned", reason))
    }

    pub fn get(&self, path: &str) -> Result<Value, String> {
        let response = self.agent.get(format!("{}{path}", self.url)).call();
        Self::json(path, response)
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.post_bytes(path, "application/json", body.to_string().as_bytes())
    }

    pub fn post_bytes(&self, path: &str, kind: &str, body: &[u8]) -> Result<Value, String> {
        Self::json(path, self.send(path, kind, body))
    }

    /// Posts a request and passes on every event of the answer. An answer without its end is an error.
    pub fn stream(
        &self,
        path: &str,
        body: &Value,
        mut tell: impl FnMut(&Value),
    ) -> Result<(), String> {
        let response = self.send(path, "application/json", body.to_string().as_bytes());
        if response.as_ref().is_ok_and(|r| !r.status().is_success()) {
            return Self::json(path, response).map(drop);
        }
        let response = response.map_err(|e| format!("{path}: {e}"))?;
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.map_err(|e| format!("{path}: the stream broke off: {e}"))?;
            match line.strip_prefix("data: ") {
                Some("[DONE]") => return Ok(()),
                Some(data) => {
                    let event: Value = serde_json::from_str(data)
                        .map_err(|e| format!("{path}: not JSON: {e}: {data}"))?;
                    if !event["error"].is_null() {
                        return Err(format!("{path}: {}", event["error"]));
                    }
                    tell(&event);
                }
                None => {}
            }
        }
        Err(format!("{path}: the stream ended without [DONE]"))
    }

    fn send(&self, path: &str, kind: &str, body: &[u8]) -> Sent {
        let request = self.agent.post(format!("{}{path}", self.url));
        request.header("content-type", kind).send(body)
    }

    fn json(path: &str, response: Sent) -> Result<Value, String> {
        let mut response = response.map_err(|e| format!("{path}: {e}"))?;
        let status = response.status();
        let text = response
            .body_mut()
            .read_to_string()
            .map_err(|e| format!("{path}: {e}"))?;
        if !status.is_success() {
            return Err(format!("{path}: {status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|e| format!("{path}: not JSON: {e}"))
    }
}

/// A server process of our own executable, killed on drop.
pub struct ServerProcess {
    child: Child,
    pub client: Client,
}

/// The `AUTODIDACT_…` variables that the server process keeps: the places of models and the use of the machine. A key,
/// a limit or a learning setting would change the measurement.
const KEPT: [&str; 4] = [
    "AUTODIDACT_MODELS",
    "AUTODIDACT_MODELS_FILE",
    "AUTODIDACT_THREADS",
    "AUTODIDACT_LOG",
];

/// Time limit of the start, which may have to fetch the model.
const START_LIMIT: Duration = Duration::from_secs(600);

impl ServerProcess {
    pub fn start(model: &str, data: &Path) -> Result<Self, String> {
        let listener =
            TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no free port: {e}"))?;
        let address = listener.local_addr().map_err(|e| e.to_string())?;
        drop(listener);
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        // An empty configuration file, so that the user's own is not read.
        let config = data.join("measured.toml");
        std::fs::create_dir_all(data)
            .and_then(|()| std::fs::write(&config, ""))
            .map_err(|e| format!("cannot write {}: {e}", config.display()))?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("AUTODIDACT_") && !KEPT.contains(&&*text) {
                command.env_remove(&name);
            }
        }
        let child = command
            .args(["serve", "--model", model, "--listen", &address.to_string()])
            .arg("--data")
            .arg(data)
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot start the server: {e}"))?;
        let client = Client::new(format!("http://{address}"));
        let mut server = ServerProcess { child, client };
        let clock = Instant::now();
        loop {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("the server ended at once: {status}"));
            }
            let url = format!("{}/readyz", server.client.url);
            if server
                .client
                .agent
                .get(url)
                .call()
                .is_ok_and(|r| r.status().is_success())
            {
                return Ok(server);
            }
            if clock.elapsed() > START_LIMIT {
                return Err("the server was not ready within ten minutes".into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
