//! A model behind a URL, over real connections of this machine. The server is busy, slow, wrong or strict about keys.

use autodidact::config::UrlModel;
use autodidact::learn::ports::model::{ModelError, Prompt, Sampling};
use autodidact::learn::ports::text_model::TextModel;
use autodidact::pool::OpenAiModel;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A request as the server saw it.
pub struct Seen {
    path: String,
    key: Option<String>,
    pub body: Value,
}

/// What the server does with a request.
pub enum Answer {
    /// Status, a header line or nothing, and the body.
    Say(u16, &'static str, String),
    /// Keeps the connection and says nothing.
    Silence,
}

/// Answers each request by `script`, which gets the number of earlier requests.
pub fn server(
    script: impl Fn(usize, &Seen) -> Answer + Send + 'static,
) -> (String, Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for (nth, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let request = read(&stream);
            let answer = script(nth, &request);
            // Send the request before its answer, so that a test with the answer finds it. The test may have dropped
            // the receiver.
            let _ = sender.send(request);
            match answer {
                Answer::Silence => kept.push(stream),
                Answer::Say(status, header, body) => {
                    // A test may let its client disconnect early.
                    let _ = write!(
                        stream,
                        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{header}\r\n{body}",
                        body.len()
                    );
                }
            }
        }
    });
    (url, seen)
}

fn read(stream: &TcpStream) -> Seen {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let (mut key, mut length) = (None, 0);
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => key = Some(value.to_owned()),
            "content-length" => length = value.parse().unwrap(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Seen {
        path,
        key,
        body: serde_json::from_slice(&body).unwrap(),
    }
}

pub fn chat(text: &str) -> Answer {
    let body = json!({"choices": [{"message": {"role": "assistant", "content": text}}]});
    Answer::Say(200, "", body.to_string())
}

fn error(status: u16, header: &'static str, message: &str) -> Answer {
    let body = json!({"error": {"message": message}});
    Answer::Say(status, header, body.to_string())
}

fn settings(url: &str) -> UrlModel {
    UrlModel::new(url, "big").unwrap()
}

fn open(settings: UrlModel) -> OpenAiModel {
    OpenAiModel::new(settings, |_| None).unwrap()
}

fn ask(model: &OpenAiModel) -> Result<Vec<Vec<String>>, ModelError> {
    let prompts = [Prompt::user("Who?")];
    model.complete(&prompts, &Sampling::greedy(8), &|| false)
}

/// The model's error message.
fn failure(model: &OpenAiModel) -> String {
    ask(model).unwrap_err().to_string()
}

#[test]
fn every_prompt_gets_its_own_completions_in_order() {
    let (url, seen) = server(|_, request| {
        let messages = request.body["messages"].as_array().unwrap();
        let user = messages.last().unwrap()["content"].as_str().unwrap();
        chat(&format!("1. {user} {}", request.body["seed"]))
    });
    let model = open(settings(&format!("{url}/")));
    let prompts: Vec<Prompt> = (0..9).map(|i| Prompt::user(format!("Q{i}"))).collect();
    let sampling = Sampling {
        temperature: 0.5,
        stop: vec!["\n".into()],
        seed: 7,
        n: 2,
        ..Sampling::greedy(8)
    };
    let texts = model.complete(&prompts, &sampling, &|| false).unwrap();
    assert_eq!(texts.len(), 9);
    for (i, texts) in texts.iter().enumerate() {
        let seed = |k: usize| (7 + i * 1_000_003 + k) & 0x7fff_ffff;
        let text = |k: usize| format!("1. Q{i} {}", seed(k));
        assert_eq!(texts, &[text(0), text(1)]);
    }
    let first = seen.recv().unwrap();
    assert_eq!(first.path, "/v1/chat/completions");
    assert_eq!(first.key, None);
    assert_eq!(
        (&first.body["model"], &first.body["stop"]),
        (&json!("big"), &json!(["\n"]))
    );
    assert_eq!(first.body["temperature"], 0.5);
    assert_eq!(first.body["max_tokens"], 8);
}

#[test]
fn turns_are_sent_as_messages_and_the_asked_beginning_comes_off() {
    let (url, seen) = server(|_, _| chat("1. Orr is tall.\n2. He is old."));
    let prompt = Prompt {
        system: Some("Be brief.".into()),
        examples: vec![("U".into(), "A".into())],
        ..Prompt::user("List facts.").prefill("1. ")
    };
    let model = open(settings(&url));
    let texts = model.complete(&[prompt], &Sampling::greedy(8), &|| false);
    assert_eq!(texts.unwrap(), [["Orr is tall.\n2. He is old."]]);
    let body = seen.recv().unwrap().body;
    let turn = |i: usize| {
        let text = |field: &str| body["messages"][i][field].as_str().unwrap().to_owned();
        (text("role"), text("content"))
    };
    let is = |role: &str, content: &str| (role.to_owned(), content.to_owned());
    assert_eq!(turn(0), is("system", "Be brief."));
    assert_eq!(turn(1), is("user", "U"));
    assert_eq!(turn(2), is("assistant", "A"));
    assert_eq!(turn(3).0, "user");
    assert!(turn(3).1.starts_with("List facts.") && turn(3).1.ends_with("1."));
}

#[test]
fn a_busy_server_is_asked_again() {
    let (url, seen) = server(|nth, _| match nth {
        0 => error(429, "retry-after: 0\r\n", "slow down"),
        1 => error(503, "retry-after: 0\r\n", "starting"),
        _ => chat("yes"),
    });
    assert_eq!(ask(&open(settings(&url))).unwrap(), [["yes"]]);
    let bodies: Vec<Value> = seen.try_iter().map(|s| s.body).collect();
    assert!(bodies.iter().all(|body| *body == bodies[0]));
}

#[test]
fn patience_ends_and_says_what_was_heard() {
    let (url, seen) = server(|_, _| error(429, "retry-after: 0\r\n", "quota used up"));
    let model = open(UrlModel {
        retries: 2,
        ..settings(&url)
    });
    assert_eq!(
        failure(&model),
        format!(
            "the text model big at {url} gave no answer: it answered 429: quota used up (3 attempts)"
        )
    );
    assert_eq!(seen.iter().take(3).count(), 3);
    assert!(seen.try_recv().is_err(), "it was asked a fourth time");
}

#[test]
fn a_mistake_is_not_repeated() {
    let (url, seen) = server(|_, _| error(404, "", "no model 'big'"));
    let told = failure(&open(settings(&url)));
    assert!(told.ends_with("it answered 404: no model 'big'"), "{told}");
    seen.recv().unwrap();
    assert!(seen.try_recv().is_err());
}

#[test]
fn a_key_is_read_from_its_variable_and_its_refusal_names_it() {
    let (url, seen) = server(|_, request| match request.key.as_deref() {
        Some("Bearer right") => chat("yes"),
        _ => error(401, "", "who are you?"),
    });
    let with_key = |key: &'static str| UrlModel {
        key_env: Some(key.into()),
        ..settings(&url)
    };
    let env = |name: &str| match name {
        "RIGHT" => Some("right\n".to_owned()),
        "WRONG" => Some("wrong".to_owned()),
        _ => None,
    };
    let open = |settings: UrlModel| OpenAiModel::new(settings, env);
    assert_eq!(ask(&open(with_key("RIGHT")).unwrap()).unwrap(), [["yes"]]);
    let told = failure(&open(with_key("WRONG")).unwrap());
    assert!(
        told.ends_with("it answered 401: who are you?; the key in WRONG was refused"),
        "{told}"
    );
    let told = failure(&open(settings(&url)).unwrap());
    assert!(
        told.ends_with("no key was sent: put one into AUTODIDACT_TEXT_MODEL_KEY"),
        "{told}"
    );
    let unset = open(with_key("NONE")).err().unwrap();
    assert!(unset.contains("NONE is not set"), "{unset}");
    assert_eq!(seen.try_iter().count(), 3);
}

#[test]
fn a_silent_server_is_given_up_on() {
    let (url, _seen) = server(|_, _| Answer::Silence);
    let model = open(UrlModel {
        timeout: Duration::from_millis(50),
        retries: 0,
        ..settings(&url)
    });
    let told = failure(&model);
    assert!(
        told.ends_with("no answer within 0.05 s (timeout_seconds)"),
        "{told}"
    );
}

#[test]
fn a_wish_to_stop_is_heard_while_a_server_is_silent() {
    let (url, seen) = server(|_, _| Answer::Silence);
    let model = open(settings(&url));
    // Stop once the request has arrived; the server would hold it for ever.
    let seen = Mutex::new(seen);
    let stop = || seen.lock().unwrap().try_recv().is_ok();
    let prompts = [Prompt::user("Who?")];
    let stopped = model.complete(&prompts, &Sampling::greedy(8), &stop);
    assert!(matches!(stopped, Err(ModelError::Stopped)));
}

#[test]
fn a_stranger_at_the_url_is_told_apart() {
    let (url, _seen) = server(|nth, _| match nth {
        0 => Answer::Say(200, "", "<html>".into()),
        1 => Answer::Say(200, "", "{\"choices\": []}".into()),
        _ => Answer::Say(302, "location: /elsewhere\r\n", "moved".into()),
    });
    let model = open(settings(&url));
    for told in [
        "what it answered is not JSON",
        "holds no choices[0].message.content",
        "it answered 302: moved",
    ] {
        let failure = failure(&model);
        assert!(failure.contains(told), "{failure}");
    }
    let nobody = open(UrlModel {
        retries: 0,
        ..settings("http://127.0.0.1:9/v1")
    });
    let told = failure(&nobody);
    assert!(told.contains("it cannot be reached"), "{told}");
}
