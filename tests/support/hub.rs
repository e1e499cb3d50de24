//! A Hugging Face hub on one thread. It serves given files, and misbehaves on request.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

#[derive(Clone)]
pub struct Hub {
    pub url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: HashMap<String, Vec<u8>>,
    requests: Vec<Request>,
    break_off_after: Option<usize>,
    ignore_ranges: bool,
    token: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Request {
    pub path: String,
    pub range: Option<String>,
    authorization: Option<String>,
}

impl Hub {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::default(),
        };
        let state = hub.state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A test may let its client disconnect early.
                let _ = answer(&stream.unwrap(), &state);
            }
        });
        hub
    }

    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        self.state().files.insert(path.to_owned(), bytes);
    }

    /// Lets the next answer announce its full length and stop after this many bytes.
    pub fn break_off_after(&self, bytes: usize) {
        self.state().break_off_after = Some(bytes);
    }

    pub fn ignore_ranges(&self) {
        self.state().ignore_ranges = true;
    }

    pub fn ask_for_token(&self, token: &str) {
        self.state().token = Some(format!("Bearer {token}"));
    }

    /// Holds all answers until the returned guard is dropped.
    pub fn hold(&self) -> impl Sized + '_ {
        self.state()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn answer(mut stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let request = read(stream)?;
    let mut state = state.lock().unwrap();
    state.requests.push(request.clone());
    if state.token.is_some() && state.token != request.authorization {
        return stream.write_all(
            b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    }
    let Some(bytes) = state.files.get(&request.path).cloned() else {
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    };
    let from = match &request.range {
        Some(range) if !state.ignore_ranges => {
            let from = range.strip_prefix("bytes=").unwrap().trim_end_matches('-');
            from.parse().unwrap()
        }
        _ => 0,
    };
    let (status, rest) = match from {
        0 => ("200 OK", &bytes[..]),
        from => ("206 Partial Content", &bytes[from..]),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        rest.len()
    )?;
    let sent = state.break_off_after.take().unwrap_or(rest.len());
    stream.write_all(&rest[..sent])
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut request = Request {
        path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        ..Request::default()
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    Ok(request)
}
