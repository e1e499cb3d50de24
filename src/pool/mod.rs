//! Who computes. One process has one device and one engine; what learning asks of a model
//! ([`crate::learn::Model`]), of a teacher or of a judge ([`crate::learn::TextModel`]) is answered here.

mod local;
mod local_text;
mod open;
mod openai;
mod prefill;
mod soft;

pub use local::LocalModel;
pub use local_text::LocalText;
pub use open::{open_engine, open_executor};
pub use openai::OpenAiModel;
