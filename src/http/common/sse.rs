//! Keeps an event stream alive while nothing happens, so that neither side takes the silence for a lost connection.

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::StreamExt;
use std::time::Duration;

/// The time of silence after which the server says something.
pub const HEARTBEAT: Duration = Duration::from_secs(5);

/// A comment without the blank line that ends an event. Some clients (httpx-sse 0.4.3) take a blank line for an empty
/// event once an event had an id.
const COMMENT: &[u8] = b":\n";

/// Adds comments to a response of server-sent events. Each chunk of its body has to end with a whole event.
pub fn alive(response: Response, every: Duration) -> Response {
    let (parts, body) = response.into_parts();
    let stream = futures::stream::unfold(body.into_data_stream(), move |mut events| async move {
        match tokio::time::timeout(every, events.next()).await {
            Ok(Some(event)) => Some((event, events)),
            Ok(None) => None,
            Err(_) => Some((Ok(Bytes::from_static(COMMENT)), events)),
        }
    });
    Response::from_parts(parts, Body::from_stream(stream))
}
