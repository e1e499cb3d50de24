//! The body of an upload. Adapters of real models are large, so the memory that all uploads take together is bounded:
//! bodies share a room of a gigabyte, and one upload at a time is unpacked.

use super::error::Problem;
use super::extract::Body;
use super::state::AppState;
use axum::RequestExt;
use axum::body::{Body as RequestBody, BodyDataStream, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use futures::{Stream, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

const MEBIBYTE: u64 = 1 << 20;
/// The room of all bodies together, in mebibytes.
const ROOM: usize = 1024;
/// The longest time between two pieces of a body, which holds its room meanwhile.
const IDLE: Duration = Duration::from_secs(30);
const RETRY_AFTER_SECONDS: u64 = 10;

/// The bounds that all uploads of a server share.
#[derive(Clone)]
pub struct Uploads {
    /// A permit a mebibyte.
    room: Arc<Semaphore>,
    unpacking: Arc<Semaphore>,
}

impl Default for Uploads {
    fn default() -> Self {
        Uploads {
            room: Arc::new(Semaphore::new(ROOM)),
            unpacking: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Uploads {
    /// The room that no body takes.
    pub fn free_mebibytes(&self) -> usize {
        self.room.available_permits()
    }

    /// Waits until no other upload is unpacked, which may be many times as large as its body.
    pub async fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = self.unpacking.clone().acquire_owned();
        turn.await.map_err(Problem::internal)
    }
}

/// A body with the room that it takes. 429 if the uploads under way leave none.
pub struct Upload {
    pub bytes: Bytes,
    pub room: OwnedSemaphorePermit,
}

impl FromRequest<AppState> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let request = request.map(|body| RequestBody::from_stream(timed(body.into_data_stream())));
        let request = request.with_limited_body();
        let limit = request.body().size_hint().upper();
        let told = request.headers().get(header::CONTENT_LENGTH);
        let told = told.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        // A body that does not tell its length may be the largest. What is too large is refused when it is read.
        let most = told.unwrap_or(u64::MAX).min(limit.unwrap_or(u64::MAX));
        let wanted = u32::try_from(most.div_ceil(MEBIBYTE).max(1)).unwrap_or(u32::MAX);
        let room = state.uploads.room.clone().try_acquire_many_owned(wanted);
        let room = room.map_err(|_| full())?;
        let Body(bytes) = Body::from_request(request, state).await?;
        Ok(Upload { bytes, room })
    }
}

fn full() -> Problem {
    let detail = "Other adapters are being uploaded, and there is no room for one more; try again.";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "uploads_full", detail)
        .retry_after(RETRY_AFTER_SECONDS)
}

/// The pieces of a body, up to the first that lets wait too long.
fn timed(body: BodyDataStream) -> impl Stream<Item = Result<Bytes, axum::Error>> + Send {
    futures::stream::unfold(Some(body), |body| async move {
        let mut body = body?;
        match timeout(IDLE, body.next()).await {
            Ok(piece) => Some((piece?, Some(body))),
            Err(late) => Some((Err(axum::Error::new(late)), None)),
        }
    })
}
