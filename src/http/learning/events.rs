//! `GET /jobs/{id}/events`: the events of a job, as they happen.
//!
//! Events are stored and numbered. A client that lost its connection names the last event it saw (`Last-Event-ID`), so
//! it misses none. The stream ends after the job's last event.

use crate::http::common::error::Problem;
use crate::http::common::state::AppState;
use crate::jobs;
use crate::store;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::{Stream, StreamExt};

/// Follow a job
#[utoipa::path(get, path = "/jobs/{id}/events", tag = "learning",
    params(("id" = String, Path),
        ("Last-Event-ID" = Option<u64>, Header, description = "Number of the last event seen; the stream goes on after it")),
    responses((status = 200, content_type = "text/event-stream", body = String,
        description = "Events `state` and `progress`. An ingest also has `document`, `self_edit`, `probes`, `score`, \
            `train` and `decision`. A training has `candidate`, `held_out` and `round`. Each event has its number as `id` and JSON as `data`")))]
pub async fn job_events(
    State(state): State<AppState>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, jobs::Error>>>, Problem> {
    let since = last_seen(&headers)?;
    let subscription = state
        .blocking(move |s| s.jobs.subscribe(&id, since))
        .await?;
    let events = subscription.into_stream().map(|event| event.map(sse_event));
    // Without events the server sends comments, so that neither side takes the silence for a lost connection.
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
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
