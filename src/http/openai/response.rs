//! OpenAI's envelope around the choices of an answer. An answer is sent whole, or as server-sent events with one JSON
//! object each and `[DONE]` at the end.

use super::fields::{StreamOptions, Usage};
use super::generation::{Choice, Delta, Generation, Metadata};
use crate::http::common::error::Problem;
use crate::http::common::sse::alive;
use axum::Json;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::convert::Infallible;
use std::marker::PhantomData;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// A route's names for its answers, and the shape of its choices.
pub trait Shape: Send + Unpin + 'static {
    /// One choice of a whole answer.
    type Choice: Serialize + ToSchema;
    /// The name of a whole answer in the OpenAPI document.
    const SCHEMA: &'static str;
    /// What the OpenAPI document says about the list of choices.
    const CHOICES: Option<&'static str>;
    /// Prefix of the answer's id.
    const ID_PREFIX: &'static str;
    /// The `object` of a whole answer.
    const OBJECT: &'static str;
    /// The `object` of a chunk.
    const CHUNK_OBJECT: &'static str;

    fn choice(&self, index: usize, choice: Choice) -> Self::Choice;

    /// The opening chunk of a choice, if the route sends one before any text.
    fn opening(&self, _index: usize) -> Option<Value> {
        None
    }

    /// A delta in the shape of a chunk's choice.
    fn delta(&mut self, delta: Delta) -> Value;
}

/// The envelope of whole answers and of chunks.
#[derive(Serialize)]
struct Envelope<C> {
    id: String,
    object: &'static str,
    created: i64,
    model: String,
    system_fingerprint: String,
    choices: Vec<C>,
    /// In chunks: absent if the client did not ask for usage; otherwise null in all chunks except the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

impl<C> Envelope<C> {
    fn new<S: Shape>(
        metadata: &Metadata,
        object: &'static str,
        choices: Vec<C>,
        usage: Option<Option<Usage>>,
    ) -> Self {
        Envelope {
            id: format!("{}-{}", S::ID_PREFIX, metadata.id),
            object,
            created: metadata.created,
            model: metadata.model.clone(),
            system_fingerprint: metadata.system_fingerprint.clone(),
            choices,
            usage,
        }
    }
}

/// Sends the answer whole, or chunk by chunk if the client asked for a `stream`. If the connection drops, the engine's
/// work is cancelled.
pub async fn send<S: Shape>(
    mut generation: Generation,
    shape: S,
    stream: Option<StreamOptions>,
) -> Result<Response, Problem> {
    if let Some(options) = stream {
        let usage = options.include_usage.unwrap_or(false);
        return Ok(events(generation, shape, usage));
    }
    let choices = generation.collect().await?.into_iter().enumerate();
    let choices = choices.map(|(index, choice)| shape.choice(index, choice));
    let usage = Some(Some(generation.usage));
    let metadata = &generation.metadata;
    let body = Envelope::new::<S>(metadata, S::OBJECT, choices.collect(), usage);
    Ok(Json(body).into_response())
}

fn events<S: Shape>(generation: Generation, shape: S, usage: bool) -> Response {
    let heartbeat = generation.heartbeat;
    let chunks = Chunks {
        generation,
        shape,
        usage,
        usage_due: usage,
    };
    let opening = (0..chunks.generation.choices()).filter_map(|i| chunks.shape.opening(i));
    let opening: Vec<Result<Value, Problem>> = opening
        .map(|choice| Ok(chunks.chunk(vec![choice], None)))
        .collect();
    let rest = futures::stream::unfold(chunks, |mut chunks| async move {
        let chunk = chunks.next().await?;
        Some((chunk, chunks))
    });
    let events = frames(futures::stream::iter(opening).chain(rest));
    alive(Sse::new(events).into_response(), heartbeat)
}

/// The chunks of a running answer.
struct Chunks<S> {
    generation: Generation,
    shape: S,
    /// Whether the client asked for one more chunk with the usage and without choices.
    usage: bool,
    /// Whether that chunk is still to come.
    usage_due: bool,
}

impl<S: Shape> Chunks<S> {
    fn chunk(&self, choices: Vec<Value>, total: Option<Usage>) -> Value {
        let usage = self.usage.then_some(total);
        let metadata = &self.generation.metadata;
        json!(Envelope::new::<S>(
            metadata,
            S::CHUNK_OBJECT,
            choices,
            usage
        ))
    }

    async fn next(&mut self) -> Option<Result<Value, Problem>> {
        loop {
            return match self.generation.next().await {
                None if self.usage_due => {
                    self.usage_due = false;
                    let total = Some(self.generation.usage);
                    Some(Ok(self.chunk(Vec::new(), total)))
                }
                None => None,
                Some(Ok(delta)) if delta.is_empty() => continue,
                Some(Ok(delta)) => {
                    let choice = self.shape.delta(delta);
                    Some(Ok(self.chunk(vec![choice], None)))
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
        // The status is sent already, so the stream itself reports the error.
        Err(problem) => serde_json::to_string(&problem.openai_body()).unwrap_or_default(),
    });
    let done = futures::stream::once(std::future::ready("[DONE]".to_owned()));
    data.chain(done).map(|data| Ok(Event::default().data(data)))
}

/// Only for the API's description: an event of a streamed answer.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its shape is shown")]
pub struct StreamEvent {
    /// A chunk in JSON, or `[DONE]`
    data: String,
}

/// A whole answer in the OpenAPI document: [`Envelope`] around the choices of `S`, named [`Shape::SCHEMA`].
pub struct Described<S>(PhantomData<S>);

impl<S: Shape> PartialSchema for Described<S> {
    fn schema() -> RefOr<Schema> {
        let choice = Ref::from_schema_name(S::Choice::name());
        let choices = ArrayBuilder::new().items(choice).description(S::CHOICES);
        let text = |description: Option<String>| {
            let string = ObjectBuilder::new().schema_type(utoipa::openapi::Type::String);
            string.description(description)
        };
        let writer = "Names the adapter (or base) that wrote the answer; of a list of prompts, all that did, joined \
            by `+`";
        ObjectBuilder::new()
            .property("id", text(None))
            .property("object", text(Some(format!("`{}`", S::OBJECT))))
            .property("created", i64::schema())
            .property("model", text(None))
            .property("system_fingerprint", text(Some(writer.to_owned())))
            .property("choices", choices)
            .property("usage", Ref::from_schema_name(Usage::name()))
            .required("id")
            .required("object")
            .required("created")
            .required("model")
            .required("system_fingerprint")
            .required("choices")
            .required("usage")
            .into()
    }
}

impl<S: Shape> ToSchema for Described<S> {
    fn name() -> Cow<'static, str> {
        S::SCHEMA.into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        for (name, schema) in [
            (S::Choice::name(), S::Choice::schema()),
            (Usage::name(), Usage::schema()),
        ] {
            schemas.push((name.into_owned(), schema));
        }
        S::Choice::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::openai::chat::Chat;

    #[test]
    fn the_description_names_the_fields_of_the_envelope() {
        let metadata = Metadata {
            id: "1".into(),
            created: 1,
            model: "m".into(),
            system_fingerprint: "base-1".into(),
        };
        let usage = Some(Some(Usage::default()));
        let whole = json!(Envelope::<Value>::new::<Chat>(
            &metadata,
            Chat::OBJECT,
            Vec::new(),
            usage
        ));
        let described = json!(Described::<Chat>::schema());
        let names = |value: &Value| -> Vec<String> {
            let fields = value.as_object().into_iter().flatten();
            fields.map(|(name, _)| name.clone()).collect()
        };
        let (mut sent, mut told) = (names(&whole), names(&described["properties"]));
        sent.sort();
        told.sort();
        assert_eq!(sent, told);
        let required = described["required"].as_array().map(Vec::len);
        assert_eq!(required, Some(sent.len()));
    }
}
