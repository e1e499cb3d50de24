//! A running answer as server-sent events, the way OpenAI sends them: one JSON object each, then
//! `[DONE]`.

use super::fields::Usage;
use super::generation::{Answer, Piece};
use crate::http::common::error::Problem;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde_json::{Value, json};
use std::convert::Infallible;

/// What a route's chunks have in common.
#[derive(Clone, Copy)]
pub struct Form {
    /// Stands before the answer's id.
    pub prefix: &'static str,
    pub object: &'static str,
    /// The client asked for one more chunk, with the usage and no choice; in all others it is null.
    pub usage: bool,
}

/// Streams `answer`: a chunk for each choice in `opening`, then one for every piece as `choice` shapes
/// it. Dropped with its connection, and the answer with it, which cancels the work.
pub fn sse(
    answer: Answer,
    form: Form,
    opening: Vec<Value>,
    choice: impl FnMut(Piece) -> Value + Send + 'static,
) -> Response {
    let opening: Vec<Result<Value, Problem>> = opening
        .into_iter()
        .map(|choice| Ok(form.chunk(&answer, json!([choice]), None)))
        .collect();
    let running = Running {
        answer,
        form,
        choice,
        usage_due: form.usage,
    };
    let rest = futures::stream::unfold(running, |mut running| async move {
        let chunk = running.next().await?;
        Some((chunk, running))
    });
    let events = frames(futures::stream::iter(opening).chain(rest));
    Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response()
}

impl Form {
    fn chunk(&self, answer: &Answer, choices: Value, total: Option<Usage>) -> Value {
        let about = &answer.about;
        let mut chunk = json!({
            "id": format!("{}-{}", self.prefix, about.id),
            "object": self.object,
            "created": about.created,
            "model": about.model,
            "system_fingerprint": about.system_fingerprint,
            "choices": choices,
        });
        if self.usage {
            chunk["usage"] = json!(total);
        }
        chunk
    }
}

struct Running<F> {
    answer: Answer,
    form: Form,
    choice: F,
    /// The chunk with the usage is still to come.
    usage_due: bool,
}

impl<F: FnMut(Piece) -> Value> Running<F> {
    async fn next(&mut self) -> Option<Result<Value, Problem>> {
        loop {
            return match self.answer.next().await {
                None if self.usage_due => {
                    self.usage_due = false;
                    let total = Some(self.answer.usage);
                    Some(Ok(self.form.chunk(&self.answer, json!([]), total)))
                }
                None => None,
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => {
                    let choices = json!([(self.choice)(piece)]);
                    Some(Ok(self.form.chunk(&self.answer, choices, None)))
                }
                Some(Err(problem)) => {
                    self.usage_due = false;
                    Some(Err(problem))
                }
            };
        }
    }
}

fn frames(
    chunks: impl Stream<Item = Result<Value, Problem>> + Send,
) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let data = chunks.map(|chunk| match chunk {
        Ok(chunk) => chunk.to_string(),
        // The status is sent already: the stream itself has to say what happened.
        Err(problem) => serde_json::to_string(&problem.openai_body()).unwrap_or_default(),
    });
    let done = futures::stream::once(std::future::ready("[DONE]".to_owned()));
    data.chain(done).map(|data| Ok(Event::default().data(data)))
}
