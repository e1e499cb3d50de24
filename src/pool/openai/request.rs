//! One request to a chat route. The request is repeated while the server is busy. Errors say what to do.

use super::TICK;
use crate::config::{KEY_ENV, UrlModel};
use serde_json::Value;
use std::time::{Duration, Instant};
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};

/// The wait before the first repetition. Each repetition doubles the wait.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait before a repetition, even if the server asks for more.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The most characters of a server's message in an error.
const QUOTED: usize = 300;

/// The address, key and settings of a server.
pub(super) struct Caller {
    agent: Agent,
    settings: UrlModel,
    key: Option<String>,
}

/// A failed attempt.
struct Trouble {
    reason: String,
    /// Whether another attempt may succeed (`Some`), and the wait that the server asked for, if it did.
    again: Option<Option<Duration>>,
}

impl Caller {
    pub(super) fn new(settings: UrlModel, key: Option<String>) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect could send the passages and the key to another host.
            .max_redirects(0)
            .timeout_global(Some(settings.timeout))
            .user_agent(concat!("autodidact/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Caller {
            agent,
            settings,
            key,
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.settings.url
    }

    /// Sends the request, if need be several times, and gives the first choice. `is_over` ends the waiting between
    /// attempts. Fails with a sentence for the user.
    pub(super) fn ask(&self, body: &Value, is_over: &dyn Fn() -> bool) -> Result<Said, String> {
        let body = body.to_string();
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let trouble = match self.attempt(&body) {
                Ok(text) => return Ok(text),
                Err(trouble) => trouble,
            };
            let tries = self.settings.retries + 1;
            match trouble.again {
                Some(asked) if attempt < tries => {
                    pause(asked.unwrap_or(wait).min(LONGEST_WAIT), is_over);
                    wait *= 2;
                }
                Some(_) if tries > 1 => {
                    return Err(format!("{} ({tries} attempts)", trouble.reason));
                }
                _ => return Err(trouble.reason),
            }
            if is_over() {
                return Err(trouble.reason);
            }
        }
        unreachable!("the last attempt returns")
    }

    fn attempt(&self, body: &str) -> Result<Said, Trouble> {
        let url = format!("{}/chat/completions", self.settings.url);
        let mut request = self
            .agent
            .post(url)
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {}", key.trim()));
        }
        let lost = |error: ureq::Error| Trouble {
            reason: match error {
                ureq::Error::Timeout(_) => {
                    let seconds = self.settings.timeout.as_secs_f32();
                    format!("no answer within {seconds} s (timeout_seconds)")
                }
                error => format!("it cannot be reached: {error}"),
            },
            again: Some(None),
        };
        let mut response = request.send(body).map_err(lost)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let text = response.body_mut().read_to_string().map_err(lost)?;
        let refusal = || format!("it answered {status}: {}", words_of(&text));
        match status {
            200 => said(&text).map_err(|reason| Trouble {
                reason,
                again: None,
            }),
            408 | 429 | 500..=599 => Err(Trouble {
                reason: refusal(),
                again: Some(retry_after),
            }),
            401 | 403 => Err(Trouble {
                reason: format!("{}; {}", refusal(), self.about_key()),
                again: None,
            }),
            _ => Err(Trouble {
                reason: refusal(),
                again: None,
            }),
        }
    }

    fn about_key(&self) -> String {
        let variable = self.settings.key_env.as_deref().unwrap_or(KEY_ENV);
        match self.key {
            Some(_) => format!("the key in {variable} was refused"),
            None => format!("no key was sent: put one into {variable}"),
        }
    }
}

/// The first choice of a model's answer.
#[derive(Debug)]
pub(super) struct Said {
    pub text: String,
    /// Whether the token limit cut the text off (`finish_reason` is `length`).
    pub cut_off: bool,
}

/// Reads `choices[0]` of a successful answer's body.
fn said(body: &str) -> Result<Said, String> {
    let answer: Value = serde_json::from_str(body)
        .map_err(|e| format!("what it answered is not JSON ({e}): {}", cut(body)))?;
    let choice = &answer["choices"][0];
    match choice["message"]["content"].as_str() {
        Some(text) => Ok(Said {
            text: text.to_owned(),
            cut_off: choice["finish_reason"] == "length",
        }),
        None => Err(format!(
            "its answer holds no choices[0].message.content: {}",
            cut(body)
        )),
    }
}

/// The message in an error's body: `error.message` as in OpenAI's format, else the whole body.
fn words_of(body: &str) -> String {
    let parsed: Value = serde_json::from_str(body).unwrap_or_default();
    let message = &parsed["error"]["message"];
    cut(message.as_str().unwrap_or(body))
}

fn cut(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn pause(how_long: Duration, is_over: &dyn Fn() -> bool) {
    let end = Instant::now() + how_long;
    while !is_over() {
        match end.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => std::thread::sleep(left.min(TICK)),
            _ => return,
        }
    }
}
