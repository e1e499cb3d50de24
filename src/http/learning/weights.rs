//! A version's weights as files: PEFT's two files in a tar archive, a GGUF LoRA for llama.cpp, or the whole model as
//! GGUF with the adapter merged into it.
//!
//! ```text
//! format   dtype                      what
//! peft     (as stored) f32 f16 bf16   adapter_config.json and adapter_model.safetensors, in a tar archive
//! gguf     f32                        the adapter, for llama.cpp's --lora and Ollama's ADAPTER
//! merged   f16 q8_0                   the base's GGUF file with the adapter in its weights
//! ```

use super::adapters::in_path;
use super::archive;
use crate::adapters::AliasName;
use crate::http::common::error::Problem;
use crate::http::common::extract::Query;
use crate::http::common::state::AppState;
use autodidact_engine::lora::peft::{TensorType, in_type};
use autodidact_engine::lora::to_gguf;
use autodidact_engine::weights::{GgufType, Merged};
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::io::{self, Write};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WeightsQuery {
    /// What to download; default `peft`
    #[param(inline)]
    format: Option<WeightsFormat>,
    /// The number format of the tensors: of `peft` f32, f16 or bf16 (default: as stored), of `gguf` f32, of
    /// `merged` f16 (default) or q8_0
    #[param(inline)]
    dtype: Option<WeightsType>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightsFormat {
    /// A tar archive with `adapter_config.json` and `adapter_model.safetensors`
    #[default]
    Peft,
    /// The adapter as a GGUF file, as llama.cpp loads it with `--lora`
    Gguf,
    /// The base's GGUF file with the adapter merged into its weights
    Merged,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightsType {
    F32,
    F16,
    Bf16,
    #[serde(rename = "q8_0")]
    Q8_0,
}

/// A version's files, as PEFT, vLLM and llama.cpp load them
///
/// Only PEFT's files have a place for everything that an adapter may change. What a GGUF file has none for is refused
/// by name.
#[utoipa::path(get, path = "/adapters/{alias}/versions/{version}/weights", tag = "adapters",
    params(("alias" = String, Path), ("version" = u64, Path), WeightsQuery),
    responses((status = 200, description = "A tar archive, or a GGUF file",
        content((Vec<u8> = "application/x-tar"), (Vec<u8> = "application/octet-stream")))))]
pub async fn download_weights(
    State(state): State<AppState>,
    Path((alias, version)): Path<(String, String)>,
    Query(query): Query<WeightsQuery>,
) -> Result<Response, Problem> {
    let alias = in_path(&alias)?;
    let number: u64 = version
        .parse()
        .map_err(|_| Problem::invalid("version", "The version of an adapter is a whole number."))?;
    match query.format.unwrap_or_default() {
        WeightsFormat::Peft => {
            let to = peft_type(query.dtype)?;
            peft_archive(state, alias, number, to).await
        }
        WeightsFormat::Gguf => {
            if !matches!(query.dtype, None | Some(WeightsType::F32)) {
                return Err(wrong_type("a GGUF LoRA", "f32"));
            }
            gguf_lora(state, alias, number).await
        }
        WeightsFormat::Merged => {
            let to = match query.dtype {
                None | Some(WeightsType::F16) => GgufType::F16,
                Some(WeightsType::Q8_0) => GgufType::Q8_0,
                Some(_) => return Err(wrong_type("a merged model", "f16 or q8_0")),
            };
            merged_model(state, alias, number, to).await
        }
    }
}

fn peft_type(dtype: Option<WeightsType>) -> Result<Option<TensorType>, Problem> {
    Ok(match dtype {
        None => None,
        Some(WeightsType::F32) => Some(TensorType::F32),
        Some(WeightsType::F16) => Some(TensorType::F16),
        Some(WeightsType::Bf16) => Some(TensorType::Bf16),
        Some(WeightsType::Q8_0) => return Err(wrong_type("PEFT's files", "f32, f16 or bf16")),
    })
}

fn wrong_type(what: &str, right: &str) -> Problem {
    Problem::invalid("dtype", format!("The dtype of {what} is {right}."))
}

async fn peft_archive(
    state: AppState,
    alias: AliasName,
    number: u64,
    to: Option<TensorType>,
) -> Result<Response, Problem> {
    let name = format!("{alias}-{number}.tar");
    let pack = move |state: &AppState| -> Result<Vec<u8>, Problem> {
        let mut files = state.registry.download(&alias, number)?;
        if let Some(to) = to {
            files = in_type(&files, to).map_err(|e| Problem::invalid("dtype", format!("{e}.")))?;
        }
        archive::pack(&files).map_err(Problem::internal)
    };
    let bytes = state.blocking(pack).await?;
    Ok((headers(archive::MEDIA_TYPE, &name), bytes).into_response())
}

async fn gguf_lora(state: AppState, alias: AliasName, number: u64) -> Result<Response, Problem> {
    let name = format!("{alias}-{number}.gguf");
    let write = move |state: &AppState| -> Result<Vec<u8>, Problem> {
        let loaded = state.registry.load_number(&alias, number)?;
        let config = &state.engine.files().config;
        to_gguf(&loaded.lora, config, &format!("{alias}@{number}")).map_err(no_such_file)
    };
    let bytes = state.blocking(write).await?;
    Ok((headers(GGUF, &name), bytes).into_response())
}

/// The file is written while it is sent, so it is never in memory as a whole.
async fn merged_model(
    state: AppState,
    alias: AliasName,
    number: u64,
    to: GgufType,
) -> Result<Response, Problem> {
    let name = format!("{alias}-{number}-merged.gguf");
    let (announce, announced) = oneshot::channel();
    let (chunks, body) = mpsc::channel(CHUNKS_AHEAD);
    tokio::task::spawn_blocking(move || {
        let loaded = state.registry.load_number(&alias, number);
        let loaded = match loaded.map_err(Problem::from) {
            Ok(loaded) => loaded,
            Err(problem) => return drop(announce.send(Err(problem))),
        };
        let merged = match Merged::new(state.engine.files(), &loaded.lora, to) {
            Ok(merged) => merged,
            Err(error) => return drop(announce.send(Err(no_such_file(error)))),
        };
        if announce.send(Ok(merged.len())).is_err() {
            return;
        }
        let mut out = Chunks {
            chunk: Vec::with_capacity(CHUNK),
            to: chunks,
            patience: PATIENCE,
        };
        let written = merged.write(&mut out).and_then(|()| out.flush());
        match written {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                tracing::info!(%alias, number, "a client stopped reading a merged model");
            }
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                tracing::error!(%alias, number, %error, "a merged model could not be written to its end");
                // The client sees the body break off, because it is shorter than announced.
                let _ = out.send(Err(error));
            }
            _ => {}
        }
    });
    let len: u64 = announced.await.map_err(Problem::internal)??;
    let body = Body::from_stream(ReceiverStream::new(body));
    let length = [(header::CONTENT_LENGTH, len.to_string())];
    Ok((headers(GGUF, &name), length, body).into_response())
}

/// An adapter that the format has no place for, or a base that it cannot be made of.
fn no_such_file(error: autodidact_engine::Error) -> Problem {
    match error {
        autodidact_engine::Error::Adapter(_) => Problem::invalid("format", format!("{error}.")),
        other => Problem::internal(other),
    }
}

const GGUF: &str = "application/octet-stream";
/// Bytes of one piece of a body.
const CHUNK: usize = 1 << 20;
/// Pieces that are made ahead of the client.
const CHUNKS_AHEAD: usize = 4;
/// The longest time that a client reads nothing of a body, which holds a thread and the adapter meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

fn headers(kind: &str, name: &str) -> [(header::HeaderName, String); 2] {
    [
        (header::CONTENT_TYPE, kind.to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ]
}

/// A writer whose bytes are a response's body.
struct Chunks {
    chunk: Vec<u8>,
    to: mpsc::Sender<io::Result<Bytes>>,
    patience: Duration,
}

impl Chunks {
    /// Waits for room, on a thread that may block. Fails if the client is gone or reads no more.
    fn send(&self, piece: io::Result<Bytes>) -> io::Result<()> {
        let sent = self.to.send_timeout(piece, self.patience);
        Handle::current()
            .block_on(sent)
            .map_err(|error| match error {
                SendTimeoutError::Timeout(_) => io::ErrorKind::TimedOut.into(),
                SendTimeoutError::Closed(_) => io::ErrorKind::BrokenPipe.into(),
            })
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.send(Ok(chunk.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_reads_no_more_is_given_up() {
        let (to, mut body) = mpsc::channel(1);
        let mut out = Chunks {
            chunk: Vec::new(),
            to,
            patience: Duration::from_millis(1),
        };
        let writing = tokio::task::spawn_blocking(move || {
            let first = out.write(b"first").and_then(|_| out.flush());
            let second = out.write(b"second").and_then(|_| out.flush());
            (first, second.unwrap_err().kind(), out)
        });
        let (first, second, mut out) = writing.await.unwrap();
        first.unwrap();
        assert_eq!(second, io::ErrorKind::TimedOut);
        assert_eq!(body.recv().await.unwrap().unwrap(), "first");
        drop(body);
        let gone = tokio::task::spawn_blocking(move || out.write(b"x").and_then(|_| out.flush()));
        assert_eq!(
            gone.await.unwrap().unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }
}
