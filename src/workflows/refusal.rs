//! The refusal of a request, for HTTP, agents and the command line.

use crate::learn::options::error::OptionError;
use crate::{adapters, jobs, store};
use autodidact_engine as engine;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// Stable: programs may compare it.
    pub code: &'static str,
    /// A sentence for the reader. For [`RefusalKind::Internal`] it is the reason, which belongs in the log.
    pub detail: String,
    /// The wrong field, such as `documents[0].text`.
    pub field: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request cannot be read, or it names something unusable.
    Malformed,
    /// A field has a wrong value.
    Invalid,
    /// More tokens than the context window has.
    TooLong,
    /// The request names something that does not exist.
    NotFound,
    /// The present state of the server forbids it.
    Conflict,
    /// A queue is full; the client may retry after this time.
    Full { retry_after_seconds: u64 },
    /// The server is not able to work.
    Unavailable,
    /// The server failed.
    Internal,
}

impl Refusal {
    pub fn new(kind: RefusalKind, code: &'static str, detail: impl Into<String>) -> Self {
        Refusal {
            kind,
            code,
            detail: detail.into(),
            field: None,
        }
    }

    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub fn malformed(code: &'static str, detail: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::Malformed, code, detail)
    }

    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::Invalid, "invalid_field", detail).field(field)
    }

    /// An invalid request: the field is missing.
    pub fn missing(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::Invalid, "missing_field", detail).field(field)
    }

    pub fn too_long(detail: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::TooLong, "context_length_exceeded", detail)
    }

    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::NotFound, code, detail)
    }

    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::Conflict, code, detail)
    }

    pub fn full(detail: impl Into<String>, retry_after_seconds: u64) -> Self {
        let kind = RefusalKind::Full {
            retry_after_seconds,
        };
        Refusal::new(kind, "queue_full", detail)
    }

    pub fn internal(reason: impl std::fmt::Display) -> Self {
        Refusal::new(RefusalKind::Internal, "internal", reason.to_string())
    }
}

impl From<engine::Error> for Refusal {
    fn from(error: engine::Error) -> Self {
        use engine::Error as E;
        match &error {
            E::TooLong { asked, window } => Refusal::too_long(format!(
                "{asked} tokens do not fit the context window of {window} tokens."
            )),
            E::Input(reason) => Refusal::malformed("invalid_request", format!("{reason}.")),
            E::Adapter(_) => Refusal::invalid("adapter", format!("{error}.")),
            E::Full {
                retry_after_seconds,
                ..
            } => Refusal::full(format!("{error}."), *retry_after_seconds),
            E::Stopped => Refusal::new(
                RefusalKind::Unavailable,
                "engine_stopped",
                "The engine has stopped; the server's log says why.",
            ),
            _ => Refusal::internal(&error),
        }
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        let sentence = format!("{error}.");
        match &error {
            E::Conflict { .. } => Refusal::conflict("version_conflict", sentence),
            E::AliasBusy { .. } => Refusal::conflict("adapter_busy", sentence),
            E::NoAlias { .. } => Refusal::not_found("adapter_not_found", sentence),
            E::NoVersion { .. } => Refusal::not_found("version_not_found", sentence),
            _ => Refusal::internal(&error),
        }
    }
}

impl From<adapters::InvalidName> for Refusal {
    fn from(error: adapters::InvalidName) -> Self {
        invalid_name(format!("{error}."))
    }
}

impl From<adapters::Error> for Refusal {
    fn from(error: adapters::Error) -> Self {
        use adapters::Error as E;
        let sentence = format!("{error}.");
        match error {
            E::Name(invalid) => invalid.into(),
            E::BaseName { .. } => invalid_name(sentence),
            E::Unknown { .. } => Refusal::not_found("model_not_found", sentence).field("model"),
            E::Ambiguous { .. } => Refusal::malformed("ambiguous_model", sentence).field("model"),
            E::Stranded { .. } => Refusal::conflict("document_shared", sentence),
            E::AnotherBase { .. } => Refusal::conflict("adapter_of_another_base", sentence),
            E::NotTrainable { .. } => Refusal::conflict("adapter_not_trainable", sentence),
            E::Files(_) => Refusal::new(RefusalKind::Invalid, "invalid_adapter", sentence),
            E::LoadDirectory { .. } => {
                Refusal::malformed("invalid_adapter", sentence).field("lora_path")
            }
            E::AlreadyLoaded { .. } => {
                Refusal::malformed("already_loaded", sentence).field("lora_name")
            }
            E::NotLoaded { .. } => Refusal::not_found("not_loaded", sentence).field("lora_name"),
            E::Store(error) => error.into(),
        }
    }
}

fn invalid_name(sentence: String) -> Refusal {
    Refusal::new(RefusalKind::Invalid, "invalid_name", sentence).field("adapter")
}

impl From<OptionError> for Refusal {
    fn from(error: OptionError) -> Self {
        Refusal::invalid(error.field.clone(), format!("{error}."))
    }
}

impl From<jobs::Error> for Refusal {
    fn from(error: jobs::Error) -> Self {
        use jobs::Error as E;
        let sentence = format!("{error}.");
        match error {
            E::QueueFull { retry_after, .. } => {
                Refusal::full(sentence, retry_after.as_secs().max(1))
            }
            E::KeyReused { .. } => {
                Refusal::new(RefusalKind::Invalid, "idempotency_mismatch", sentence)
                    .field("Idempotency-Key")
            }
            E::Unknown { .. } => Refusal::not_found("job_not_found", sentence),
            E::Finished { .. } => Refusal::conflict("job_state", sentence),
            E::Store(error) => error.into(),
            E::Task(error) => Refusal::internal(error),
        }
    }
}
