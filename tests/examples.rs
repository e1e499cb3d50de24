//! The programs in `examples/`, each run as a separate process against the real server. The model is tiny and random,
//! so its answers are noise, and the server's settings decide the gate's verdict.

use crate::server::{Place, Server};
use autodidact::store::digest;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Every program, with the arguments that make it short.
const PROGRAMS: [(&str, &[&str]); 5] = [
    ("agent_mcp.py", &["--seconds", "5"]),
    ("async_openai.rs", &[]),
    ("curl.sh", &[]),
    ("openai_client.py", &[]),
    ("rest_em.py", &["--contexts", "3"]),
];

const KEY: &str = "sk-test";

/// Settings that train a little and publish any result.
const ACCEPTS: &str = r#"
    [learning.self_edit]
    kind = "none"
    [learning.training]
    rank = 4
    alpha = 8.0
    learning_rate = 0.003
    epochs = 5
    batch_size = 1
    [learning.gate]
    mode = "off"
"#;

/// Settings that train a little and require a gain that noise cannot reach.
const REFUSES: &str = r#"
    [learning.training]
    rank = 4
    epochs = 1
    [learning.gate]
    min_gain = 1.0
    attempts = 1
"#;

/// A server with the settings, and a key that clients must send.
fn keyed(place: &Place, settings: &str) -> Server {
    let hash = digest(KEY.as_bytes());
    place.serve_with(&format!("[auth]\nkeys = [\"{hash}\"]\n{settings}"))
}

fn program(name: &str) -> Command {
    let path = format!("{ROOT}/examples/{name}");
    match name.rsplit_once('.') {
        Some((_, "sh")) => with_script("sh".into(), &path),
        Some((_, "py")) => with_script(python(), &path),
        Some((stem, "rs")) => Command::new(built(stem)),
        _ => panic!("nobody knows how to run {name}"),
    }
}

fn with_script(interpreter: PathBuf, path: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(path);
    command
}

/// The interpreter that has the packages of `make test`.
fn python() -> PathBuf {
    let named = std::env::var_os("AUTODIDACT_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| Path::new(ROOT).join(".venv/bin/python"));
    assert!(
        python.exists(),
        "There is no Python at {}: run `make test`, which makes .venv, or name an interpreter that has the \
         `openai` and `mcp` packages in AUTODIDACT_PYTHON.",
        python.display()
    );
    python
}

/// Where cargo puts an example: beside the directory of this test's own executable.
fn built(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let path = profile.join("examples").join(example);
    assert!(
        path.exists(),
        "There is no {}: `cargo test` builds it unless --test is given; then run `cargo build --examples` first.",
        path.display()
    );
    path
}

fn run(name: &str, url: &str, key: &str) -> Output {
    let (_, arguments) = PROGRAMS.iter().find(|(n, _)| *n == name).unwrap();
    let mut command = program(name);
    command.args(*arguments);
    command
        .env("AUTODIDACT_URL", url)
        .env("AUTODIDACT_KEY", key);
    command.output().unwrap()
}

/// What the program prints; fails if the program does.
fn says(name: &str, url: &str) -> String {
    let output = run(name, url, KEY);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}{complained}");
    said
}

/// The texts stand in what was said, in this order.
fn assert_in_order(said: &str, wanted: &[&str]) {
    let mut rest = said;
    for text in wanted {
        let found = rest.find(text);
        let at = found.unwrap_or_else(|| panic!("no {text:?} where it belongs in:\n{said}"));
        rest = &rest[at + text.len()..];
    }
}

#[test]
fn every_program_is_run() {
    let entries = std::fs::read_dir(format!("{ROOT}/examples")).unwrap();
    let files = entries.map(|e| e.unwrap()).filter(|e| e.path().is_file());
    let names = files.map(|e| e.file_name().into_string().unwrap());
    let there: BTreeSet<String> = names.filter(|name| name != "README.md").collect();
    let run = PROGRAMS.map(|(name, _)| name.to_owned());
    assert_eq!(there, BTreeSet::from(run));
    let readme = std::fs::read_to_string(format!("{ROOT}/examples/README.md")).unwrap();
    for name in there {
        assert!(
            readme.contains(&format!("]({name})")),
            "{name} is not listed"
        );
    }
}

#[test]
fn curl_teaches_asks_and_rolls_back() {
    let place = Place::tiny();
    let server = place.serve_with(ACCEPTS);
    let said = says("curl.sh", server.url());
    let steps = [
        "Quillmere: learned, ",
        "Brannock: learned, ",
        "curl-example: ",
        " (lora-",
        "tiny: ",
        " (base-",
        "version 2 (live): Brannock",
        "version 1: Quillmere",
        "rolled back: curl-example is live at version 1",
    ];
    assert_in_order(&said, &steps);
    assert_eq!(server.get("/adapters/curl-example")["live_version"], 1);

    // Run again, the first document is known. The second was rolled back, so it is learned again.
    let said = says("curl.sh", server.url());
    let steps = [
        "version 3 (live): Brannock",
        "version 1: Quillmere",
        "is live at version 1",
    ];
    assert_in_order(&said, &steps);
}

#[test]
fn the_clients_written_against_openai_hear_base_and_adapter() {
    let place = Place::tiny();
    let server = keyed(&place, ACCEPTS);
    let said = says("openai_client.py", server.url());
    let steps = [
        "Quillmere: learned, ",
        "tiny: ",
        " (base-",
        "openai-example: ",
        " (lora-",
    ];
    assert_in_order(&said, &steps);
    let said = says("async_openai.rs", server.url());
    let steps = ["Quillmere: learned, ", "tiny: ", "rust-example: "];
    assert_in_order(&said, &steps);
}

#[test]
fn the_agent_learns_a_document_and_its_corrections() {
    let place = Place::tiny();
    let server = keyed(&place, ACCEPTS);
    let said = says("agent_mcp.py", server.url());
    let steps = [
        "tools: learn_document, adapt_from_examples",
        "base: ",
        "The ferry of Gloam: learned, ",
        "agent-example: ",
        "(lora-",
        "agent-example-house is at version 1: 'Turn off the light in the study' -> ",
        "known: agent-example@1 from The ferry of Gloam",
        "known: agent-example-house@1 from examples",
    ];
    assert_in_order(&said, &steps);
}

#[test]
fn what_has_practised_writes_the_notes() {
    let place = Place::tiny();
    let server = keyed(&place, ACCEPTS);
    let said = says("rest_em.py", server.url());
    let steps = [
        "  round 1, ",
        ": reward ",
        "round 1: reward ",
        "  round 2, ",
        "round 2: reward ",
        ", notes by writer-example@",
        ": learned, ",
    ];
    assert_in_order(&said, &steps);
    assert!(said.contains("new policy: writer-example@1"), "{said}");
}

#[test]
fn a_refusal_is_told_and_is_no_error() {
    let place = Place::tiny();
    let server = keyed(&place, REFUSES);
    for (name, _) in PROGRAMS {
        let said = says(name, server.url());
        assert!(said.contains(": refused, "), "{name}: {said}");
        assert!(!said.contains("(lora-"), "{name}: {said}");
    }
}

#[test]
fn an_error_of_the_server_ends_every_program() {
    let place = Place::tiny();
    let server = keyed(&place, ACCEPTS);
    for (name, _) in PROGRAMS {
        let output = run(name, server.url(), "sk-wrong");
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{name} goes on without a key");
        // The `mcp` package keeps the status to itself.
        let told = match name {
            "agent_mcp.py" => "error response",
            _ => "401",
        };
        assert!(complained.contains(told), "{name}: {complained}");
    }
}

#[test]
fn an_answer_of_another_shape_ends_every_program() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        listener
            .incoming()
            .for_each(|client| nothing(client.unwrap()))
    });
    for (name, _) in PROGRAMS {
        let output = run(name, &url, KEY);
        assert!(
            !output.status.success(),
            "{name} makes something of nothing"
        );
    }
}

/// Reads a request and answers with an empty object.
fn nothing(stream: TcpStream) {
    let mut request = BufReader::new(stream);
    let mut length = 0;
    let mut line = String::new();
    while request.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let body = request.by_ref().take(length);
    let _ = body.bytes().count();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: 2";
    let _ = write!(request.get_mut(), "{head}\r\n\r\n{{}}");
}
