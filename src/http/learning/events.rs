//! `GET /jobs/{id}/events`: the events of a job, as they happen.
//!
//! Events are stored and numbered. A client that lost its connection names the last event it saw (`Last-Event-ID`), so
//! it misses none. The stream ends after the job's last event.

use crate::http::common::error::Problem;
use crate::http::common::sse::alive;
use crate::http::common::state::AppState;
use crate::store;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use utoipa::ToSchema;

/// Only for the API's description: one event.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its shape is shown")]
struct JobEvent {
    /// The event's number
    #[schema(pattern = "^[0-9]+$")]
    id: String,
    /// The kind of event
    event: String,
    /// JSON
    #[schema(content_media_type = "application/json")]
    data: String,
}

/// Follow a job
#[utoipa::path(get, path = "/jobs/{id}/events", tag = "learning",
    params(("id" = String, Path),
        ("Last-Event-ID" = Option<u64>, Header, description = "Number of the last event seen; the stream goes on after it")),
    responses((status = 200, content_type = "text/event-stream", body = JobEvent,
        description = "Events `state` and `progress`. An ingest also has `document`, `self_edit`, `probes`, `score`, \
            `train` and `decision`. A training has `candidate`, `held_out` and `round`. Each event has its number as `id` and JSON as `data`")))]
pub async fn job_events(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let since = last_seen(&headers)?;
    let subscription = state
        .blocking(move |s| s.jobs.subscribe(&id, since))
        .await?;
    let events = subscription.into_stream().map(|event| event.map(sse_event));
    Ok(alive(Sse::new(events).into_response(), state.heartbeat))
}

fn sse_event(event: store::Event) -> Event {
    Event::default()
        .id(event.seq.to_string())
        .event(event.kind)
        .data(event.data.to_string())
}

fn last_seen(headers: &HeaderMap) -> Result<u64, Problem> {
    let Some(value) = headers.get("last-event-id") else {
        return Ok(0);
    };
    let number = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    number.filter(|n| *n <= i64::MAX as u64).ok_or_else(|| {
        Problem::invalid(
            "Last-Event-ID",
            "Last-Event-ID is the id of an event of this job, a whole number.",
        )
    })
}
