//! Answers to bodies that are refused while the client still sends them. The client here writes everything before it
//! reads, as most do.

use crate::common::Server;
use autodidact::store::digest;
use std::io::{Read, Write};
use std::net::TcpStream;

const MANY: usize = 24 << 20;

/// A body of so many bytes, plain or in chunks.
#[derive(Clone, Copy)]
enum Body {
    Known(usize),
    Chunked(usize),
}

struct Connection(TcpStream);

impl Connection {
    fn to(server: &Server) -> Connection {
        let address = server.url.trim_start_matches("http://");
        Connection(TcpStream::connect(address).unwrap())
    }

    /// Writes a whole request. Any failure to write fails the test.
    fn write(&mut self, path: &str, headers: &str, body: Body) {
        let framing = match body {
            Body::Known(length) => format!("content-length: {length}"),
            Body::Chunked(_) => "transfer-encoding: chunked".to_owned(),
        };
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{framing}\r\n{headers}\r\n");
        self.0.write_all(head.as_bytes()).unwrap();
        let piece = vec![b'x'; 64 << 10];
        let (Body::Known(length) | Body::Chunked(length)) = body;
        let mut left = length;
        while left > 0 {
            let bytes = &piece[..left.min(piece.len())];
            if let Body::Chunked(_) = body {
                write!(self.0, "{:x}\r\n", bytes.len()).unwrap();
            }
            self.0.write_all(bytes).unwrap();
            if let Body::Chunked(_) = body {
                self.0.write_all(b"\r\n").unwrap();
            }
            left -= bytes.len();
        }
        if let Body::Chunked(_) = body {
            self.0.write_all(b"0\r\n\r\n").unwrap();
        }
    }

    /// Reads one answer: its head and its body.
    fn read(&mut self) -> (String, String) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |n| n.parse().unwrap())];
        self.0.read_exact(&mut body).unwrap();
        (head, String::from_utf8(body).unwrap())
    }
}

/// Runs blocking work beside the server of this test.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_while_it_still_comes() {
    let server = Server::with(|config| config.limits.body_bytes = 64 << 10).await;
    let json = "content-type: application/json\r\n";
    let agent = "content-type: application/json\r\naccept: application/json, text/event-stream\r\n";
    for (path, headers) in [
        ("/ingest", json),
        ("/train", json),
        ("/v1/chat/completions", json),
        ("/mcp", agent),
    ] {
        for body in [Body::Known(MANY), Body::Chunked(MANY)] {
            let mut connection = Connection::to(&server);
            let (path, headers) = (path.to_owned(), headers.to_owned());
            aside(move || {
                connection.write(&path, &headers, body);
                let (head, body) = connection.read();
                assert!(head.starts_with("http/1.1 413 "), "{path} {head}{body}");
                assert!(body.contains("body_too_large"), "{path} {body}");
                // The rest was read, so the connection can be used again.
                connection.write("/nowhere", "", Body::Known(0));
                assert!(connection.read().0.starts_with("http/1.1 404 "), "{path}");
            })
            .await;
        }
    }
}

#[tokio::test]
async fn other_refusals_reach_a_client_that_still_sends() {
    let open = Server::start().await;
    let closed = Server::with(|config| config.auth.keys = vec![digest(b"sk-test")]).await;
    let cases = [
        (&open, "/ingest", "content-type: application/zip\r\n", 415),
        (
            &open,
            "/ingest?wat=1",
            "content-type: application/json\r\n",
            422,
        ),
        (&open, "/nowhere", "", 404),
        (&open, "/livez", "", 405),
        (
            &open,
            "/adapters?name=Not%20One",
            "content-type: text/plain\r\n",
            415,
        ),
        (&open, "/ingest", "origin: https://evil.test\r\n", 403),
        (
            &closed,
            "/ingest",
            "content-type: application/json\r\n",
            401,
        ),
    ];
    for (server, path, headers, status) in cases {
        let mut connection = Connection::to(server);
        aside(move || {
            connection.write(path, headers, Body::Known(8 << 20));
            let (head, body) = connection.read();
            let line = format!("http/1.1 {status} ");
            assert!(head.starts_with(&line), "{path} {head}{body}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_at_once() {
    let server = Server::with(|config| config.limits.body_bytes = 1000).await;
    let ask = "content-type: application/json\r\nexpect: 100-continue\r\n";
    let mut connection = Connection::to(&server);
    let mut other = Connection::to(&server);
    aside(move || {
        let head = format!(
            "POST /ingest HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2000\r\n{ask}\r\n"
        );
        connection.0.write_all(head.as_bytes()).unwrap();
        // Not a byte of the body was sent, and none is asked for.
        let (head, _) = connection.read();
        assert!(head.starts_with("http/1.1 413 "), "{head}");

        let head =
            format!("POST /ingest HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n{ask}\r\n");
        other.0.write_all(head.as_bytes()).unwrap();
        assert!(other.read().0.starts_with("http/1.1 100 "));
        other.0.write_all(b"{}").unwrap();
        assert!(other.read().0.starts_with("http/1.1 422 "));
    })
    .await;
}

/// Bodies of uploads share a room, which a body has from its first byte to its end.
#[tokio::test]
async fn uploads_are_bounded_together() {
    let server = Server::start().await;
    let head = |mebibytes: usize| {
        format!(
            "POST /adapters?name=kb HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-tar\r\n\
             content-length: {}\r\nexpect: 100-continue\r\n\r\n",
            mebibytes << 20
        )
    };
    let mut held = [Connection::to(&server), Connection::to(&server)];
    let mut third = Connection::to(&server);
    let rest = aside(move || {
        for connection in &mut held {
            connection.0.write_all(head(500).as_bytes()).unwrap();
            assert!(connection.read().0.starts_with("http/1.1 100 "));
        }
        third.0.write_all(head(100).as_bytes()).unwrap();
        let (head, body) = third.read();
        assert!(head.starts_with("http/1.1 429 "), "{head}");
        assert!(
            head.contains("retry-after: ") && body.contains("uploads_full"),
            "{head}{body}"
        );
        held
    })
    .await;
    // A small one finds room beside them, and a large one after them.
    server.upload("kb", 1).await;
    drop(rest);
    let room = || server.state.uploads.free_mebibytes();
    crate::common::eventually("the room of the two", || room() == 1024).await;
}
