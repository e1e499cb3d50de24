//! A blocking client of our own routes. Any answer other than success fails the test, except in methods with the
//! prefix `try_`.

use super::Events;
use serde_json::{Value, json};
use std::time::Duration;
use ureq::Agent;

/// Time limit of any answer.
const PATIENCE: Duration = Duration::from_secs(1800);

pub struct Client {
    agent: Agent,
    url: String,
}

impl Client {
    pub fn new(url: String) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build();
        Client {
            agent: config.into(),
            url,
        }
    }

    /// `http://127.0.0.1:port`
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn get(&self, path: &str) -> Value {
        success(path, self.try_get(path))
    }

    pub fn try_get(&self, path: &str) -> (u16, Value) {
        let answer = self.agent.get(format!("{}{path}", self.url)).call();
        json_of(answer.unwrap())
    }

    pub fn post(&self, path: &str, body: &Value) -> Value {
        success(path, self.try_post(path, body))
    }

    pub fn try_post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(path, body, None)
    }

    fn send(&self, path: &str, body: &Value, key: Option<&str>) -> (u16, Value) {
        let request = self.agent.post(format!("{}{path}", self.url));
        let mut request = request.header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        json_of(request.send(body.to_string()).unwrap())
    }

    pub fn delete(&self, path: &str) {
        let answer = self.agent.delete(format!("{}{path}", self.url)).call();
        let status = answer.unwrap().status();
        assert!(status.is_success(), "{path}: {status}");
    }

    /// Posts an ingest. Returns the ids of the job and of its documents.
    pub fn try_delete(&self, path: &str) -> (u16, Value) {
        let answer = self.agent.delete(format!("{}{path}", self.url)).call();
        json_of(answer.unwrap())
    }

    pub fn ingest(&self, body: &Value) -> (String, Vec<String>) {
        ids_of(self.try_post("/ingest", body))
    }

    pub fn ingest_with_key(&self, body: &Value, key: &str) -> (String, Vec<String>) {
        ids_of(self.send("/ingest", body, Some(key)))
    }

    /// Posts an ingest and waits for its end. Returns the job and its documents.
    pub fn learn(&self, body: &Value) -> (Value, Vec<Value>) {
        let (job, documents) = self.ingest(body);
        let job = self.finished(&job);
        let documents = documents.iter().map(|id| self.document(id)).collect();
        (job, documents)
    }

    /// The job, once it has ended.
    pub fn finished(&self, job: &str) -> Value {
        self.events(job, 0).for_each(drop);
        self.job(job)
    }

    pub fn job(&self, id: &str) -> Value {
        self.get(&format!("/jobs/{id}"))
    }

    pub fn document(&self, id: &str) -> Value {
        self.get(&format!("/documents/{id}"))
    }

    /// The events of a job after number `since`, up to its end.
    pub fn events(&self, job: &str, since: u64) -> Events {
        let request = self.agent.get(format!("{}/jobs/{job}/events", self.url));
        let request = request.header("last-event-id", since.to_string());
        let answer = request.call().unwrap();
        assert_eq!(answer.status(), 200);
        Events::new(answer.into_body().into_reader())
    }

    /// Versions of an adapter, the oldest first.
    pub fn versions(&self, adapter: &str) -> Vec<Value> {
        let page = self.get(&format!("/adapters/{adapter}/versions"));
        let mut items = page["items"].as_array().unwrap().clone();
        items.reverse();
        items
    }

    /// Asks one question. Returns the status and the whole body.
    pub fn try_chat(&self, model: &str, question: &str) -> (u16, Value) {
        let messages = json!([{"role": "user", "content": question}]);
        let body =
            json!({"model": model, "messages": messages, "temperature": 0, "max_tokens": 48});
        self.try_post("/v1/chat/completions", &body)
    }

    pub fn chat(&self, model: &str, question: &str) -> Value {
        success(model, self.try_chat(model, question))
    }

    /// The text of the answer to one question.
    pub fn says(&self, model: &str, question: &str) -> String {
        let answer = self.chat(model, question);
        let text = answer["choices"][0]["message"]["content"].as_str();
        text.unwrap().to_owned()
    }
}

fn ids_of((status, answer): (u16, Value)) -> (String, Vec<String>) {
    assert_eq!(status, 202, "{answer}");
    let text = |v: &Value| v["id"].as_str().unwrap().to_owned();
    let documents = answer["documents"].as_array().unwrap();
    (text(&answer["job"]), documents.iter().map(text).collect())
}

fn success(what: &str, (status, body): (u16, Value)) -> Value {
    assert!((200..300).contains(&status), "{what}: {status}: {body}");
    body
}

fn json_of(mut answer: ureq::http::Response<ureq::Body>) -> (u16, Value) {
    let text = answer.body_mut().read_to_string().unwrap();
    let value = serde_json::from_str(&text);
    let value = value.unwrap_or_else(|e| panic!("{e}: {text}"));
    (answer.status().as_u16(), value)
}
