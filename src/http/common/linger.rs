//! Reads on what a client is still sending after its request has been answered.
//!
//! A request may be refused before its body has arrived: too large, no key, a wrong content type. If the connection
//! were closed then, the client's next write would fail, and a client that writes everything before it reads (most do)
//! would never see the answer. So the rest of a body is read and thrown away, up to a bound.

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Most bytes that are thrown away.
const MOST: usize = 1 << 30;
/// Longest time to read on.
const LONGEST: Duration = Duration::from_secs(60);
/// Longest time between two pieces.
const IDLE: Duration = Duration::from_secs(5);

/// Middleware: lends the body to the handler, and reads on what the handler leaves.
pub async fn read_on(request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let asks_first = (request.headers().get(header::EXPECT))
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let request = request.map(|body| {
        Body::from_stream(Lent {
            body: Some(body.into_data_stream()),
            asks_first,
        })
    });
    next.run(request).await
}

/// A body in the hands of a handler.
struct Lent {
    /// None after its end.
    body: Option<BodyDataStream>,
    /// The client sends nothing until somebody reads.
    asks_first: bool,
}

impl Stream for Lent {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.asks_first = false;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = body.poll_next_unpin(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            self.body = None;
        }
        polled
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|_| !self.asks_first);
        // There is no runtime any more while the process ends.
        if let (Some(rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(LONGEST, throw_away(rest)));
        }
    }
}

async fn throw_away(mut body: BodyDataStream) {
    let mut read = 0;
    while let Ok(Some(Ok(bytes))) = tokio::time::timeout(IDLE, body.next()).await {
        read += bytes.len();
        if read > MOST {
            return;
        }
    }
}
