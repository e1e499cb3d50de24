//! `GET /metrics` in Prometheus' text format.
//!
//! A layer counts requests as they pass. The handler reads the counts of other rooms (jobs, documents, tokens) on
//! demand, so no other room depends on metrics.

use super::error::Problem;
use super::state::AppState;
use crate::store::{self, DocumentState, GateVerdict, JobKind, JobState};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;
use std::time::Instant;

const DURATION: &str = "autodidact_http_request_duration_seconds";
const BUCKETS: [f64; 11] = [
    0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0,
];

/// Prometheus metrics of this process
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "Prometheus text format", body = String, content_type = "text/plain")))]
pub async fn metrics(State(state): State<AppState>) -> Result<impl IntoResponse, Problem> {
    let handle = recorder();
    state.blocking(read_rooms).await?;
    handle.run_upkeep();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], handle.render()))
}

/// Middleware: counts requests and the seconds until the answer's head, by route and never by raw path.
pub async fn measure(request: Request, next: Next) -> Response {
    recorder();
    let start = Instant::now();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or("none".to_owned(), |path| path.as_str().to_owned());
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "DELETE" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    counter!("autodidact_http_requests_total",
        "method" => method.clone(), "route" => route.clone(), "status" => status)
    .increment(1);
    histogram!(DURATION, "method" => method, "route" => route).record(start.elapsed());
    response
}

fn read_rooms(state: &AppState) -> Result<(), store::Error> {
    let engine = state.engine.stats();
    counter!("autodidact_prompt_tokens_total").absolute(engine.prompt_tokens);
    counter!("autodidact_cached_prompt_tokens_total").absolute(engine.cached_tokens);
    counter!("autodidact_generated_tokens_total").absolute(engine.completion_tokens);
    counter!("autodidact_scored_tokens_total").absolute(engine.scored_tokens);
    counter!("autodidact_trained_tokens_total").absolute(engine.trained_tokens);
    gauge!("autodidact_running_sequences").set(engine.running as f64);
    gauge!("autodidact_waiting_requests").set(engine.waiting as f64);
    gauge!("autodidact_kv_tokens").set(engine.kv_tokens as f64);
    gauge!("autodidact_prefix_tokens").set(engine.prefix_tokens as f64);
    gauge!("autodidact_training_candidates").set(engine.training as f64);
    let jobs = state.store.jobs().counts()?;
    let kinds = JobKind::ALL.iter();
    for (kind, state) in kinds.flat_map(|k| JobState::ALL.iter().map(move |s| (*k, *s))) {
        let found = jobs.iter().find(|(k, s, _)| (*k, *s) == (kind, state));
        let count = found.map_or(0, |(_, _, n)| *n);
        let (ended, kind, state) = (state.is_terminal(), kind.as_str(), state.as_str());
        match ended {
            true => {
                counter!("autodidact_jobs_total", "kind" => kind, "state" => state).absolute(count)
            }
            false => {
                gauge!("autodidact_jobs_open", "kind" => kind, "state" => state).set(count as f64)
            }
        }
    }
    let documents = state.store.documents().counts()?;
    for document_state in DocumentState::ALL.iter().copied() {
        let of = |state| {
            let found = documents.iter().find(|(s, _)| *s == state);
            found.map_or(0, |(_, n)| *n)
        };
        let (count, state) = (of(document_state), document_state.as_str());
        match document_state {
            // A replaced document was learned, and a rollback may bring it back.
            DocumentState::Learned => {
                let learned = count + of(DocumentState::Replaced);
                counter!("autodidact_documents_total", "state" => state).absolute(learned);
            }
            DocumentState::Replaced => gauge!("autodidact_documents_replaced").set(count as f64),
            DocumentState::Queued | DocumentState::Learning => {
                gauge!("autodidact_documents_open", "state" => state).set(count as f64);
            }
            _ => counter!("autodidact_documents_total", "state" => state).absolute(count),
        }
    }
    let verdicts = state.store.documents().verdicts()?;
    for verdict in GateVerdict::ALL.iter().copied() {
        let found = verdicts.iter().find(|(v, _)| *v == verdict);
        let (count, verdict) = (found.map_or(0, |(_, n)| *n), verdict.as_str());
        counter!("autodidact_updates_total", "verdict" => verdict).absolute(count);
    }
    Ok(())
}

/// The recorder of this process. The first request installs it.
fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(DURATION.into()), &BUCKETS)
            .expect("the list of buckets is not empty")
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics stays empty");
        }
        describe();
        handle
    })
}

fn describe() {
    let counters = [
        ("autodidact_http_requests_total", "Requests answered"),
        ("autodidact_prompt_tokens_total", "Prompt tokens computed"),
        (
            "autodidact_cached_prompt_tokens_total",
            "Prompt tokens not computed again, their prefix being cached",
        ),
        ("autodidact_generated_tokens_total", "Tokens generated"),
        ("autodidact_scored_tokens_total", "Answer tokens scored"),
        ("autodidact_trained_tokens_total", "Tokens trained on"),
        ("autodidact_jobs_total", "Jobs ended, by how"),
        ("autodidact_documents_total", "Documents ended, by how"),
        (
            "autodidact_updates_total",
            "Updates the gate accepted, accepted at a gentler attempt, or refused",
        ),
    ];
    for (name, text) in counters {
        describe_counter!(name, text);
    }
    let gauges = [
        ("autodidact_running_sequences", "Sequences being generated"),
        (
            "autodidact_waiting_requests",
            "Requests waiting for the engine",
        ),
        (
            "autodidact_kv_tokens",
            "Tokens held in the cache of keys and values",
        ),
        (
            "autodidact_prefix_tokens",
            "Tokens of autodidact_kv_tokens kept for prompts to come",
        ),
        ("autodidact_training_candidates", "Adapters in training"),
        ("autodidact_jobs_open", "Jobs not ended"),
        ("autodidact_documents_open", "Documents not ended"),
        (
            "autodidact_documents_replaced",
            "Learned documents whose place a newer text has taken",
        ),
    ];
    for (name, text) in gauges {
        describe_gauge!(name, text);
    }
    describe_histogram!(DURATION, Unit::Seconds, "Time to the head of the answer");
}
