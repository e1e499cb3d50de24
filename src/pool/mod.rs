//! The computing side: engines of this process, and models behind a URL. The pool implements three ports of learning:
//! [`crate::learn::ports::model::Model`], [`crate::learn::ports::text_model::TextModel`], and the task queue
//! ([`tasks`]) that shares work among several engines.

mod local;
mod local_text;
mod memory;
#[cfg(feature = "mistralrs")]
mod mistral;
mod open;
mod openai;
mod prefill;
mod soft;
pub mod tasks;

pub use local::LocalModel;
pub use local_text::LocalText;
pub use memory::Remembering;
#[cfg(feature = "mistralrs")]
pub use mistral::MistralModel;
pub use open::{open_engine, open_executor};
pub use openai::OpenAiModel;
